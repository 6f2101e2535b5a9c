module fanfare

go 1.25
