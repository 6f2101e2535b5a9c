module publish

go 1.25

require fanfare v0.0.0

replace fanfare => ../../../ffi/go
