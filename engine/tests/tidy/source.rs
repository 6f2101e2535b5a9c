//! A Rust file as the rules see it: its text, and its code without comments and literals.

/// A file.
pub(super) struct Source {
    /// From the top of the workspace, with `/`.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// The same lines with every comment, string and character literal blanked.
    pub(super) code: String,
    /// For each line, whether it belongs to a test.
    tests: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let mut tests = vec![is_test_file(path); text.lines().count() + 1];
        for (first, last) in test_items(&code) {
            tests[first - 1..last].fill(true);
        }
        Self { path: path.into(), text: text.into(), code, tests }
    }

    /// Beginnings of the paths of modules that this file declares for tests only.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let lines = self.lines().filter(|(line, _)| self.is_test(*line));
        let modules = lines.filter_map(|(_, code)| {
            let (_, name) = code.strip_suffix(';')?.split_once("mod ")?;
            Some(format!("{}/{name}", self.folder()))
        });
        modules.flat_map(|path| [format!("{path}.rs"), format!("{path}/")]).collect()
    }

    /// Makes the whole file a test, because it is below one of these paths.
    pub(super) fn mark_tests(&mut self, modules: &[String]) {
        if modules.iter().any(|module| self.path.starts_with(module)) {
            self.tests.fill(true);
        }
    }

    /// Where the files of this one's modules are.
    fn folder(&self) -> String {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.into(),
            _ => self.path.trim_end_matches(".rs").into(),
        }
    }

    /// Lines of code with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(nth, line)| (nth + 1, line))
    }

    /// Whether this line, from 1, belongs to a test.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.tests.get(line - 1).copied().unwrap_or(false)
    }

    /// The line of a byte of the code.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        line_of(&self.code, offset)
    }
}

fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

fn is_test_file(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests") || file == "tests.rs"
}

/// First and last lines of items behind `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let attributes = ["#[cfg(test)]", "#[cfg(all(test,", "#[cfg(any(test,"];
    let starts = attributes.iter().flat_map(|attribute| code.match_indices(attribute));
    starts
        .map(|(start, _)| {
            let brace = code[start..].find('{').map(|brace| start + brace);
            let semicolon = code[start..].find(';').map(|end| start + end);
            let end = match (brace, semicolon) {
                (Some(brace), Some(semicolon)) if semicolon < brace => semicolon,
                (Some(brace), _) => closing(code, brace),
                (None, semicolon) => semicolon.unwrap_or(code.len()),
            };
            (line_of(code, start), line_of(code, end.min(code.len())))
        })
        .collect()
}

/// The place of the brace that closes the one at `open`.
pub(super) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (nth, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return nth;
        }
    }
    code.len()
}

/// The places of a word that stands by itself.
pub(super) fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part)
    })
}

/// The text with spaces instead of comments and literals; line ends stay.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(char) = rest.chars().next() {
        let length = literal_or_comment(rest, before).unwrap_or(0);
        if length == 0 {
            code.push(char);
            rest = &rest[char.len_utf8()..];
        } else {
            let blank = |char| if char == '\n' { '\n' } else { ' ' };
            code.extend(rest[..length].chars().map(blank));
            rest = &rest[length..];
        }
        before = char;
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal.
fn literal_or_comment(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('\'') {
        return char_literal(rest);
    }
    if rest.starts_with('"') {
        return Some(string(rest));
    }
    let inside_a_name = before.is_alphanumeric() || before == '_';
    if inside_a_name {
        return None;
    }
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix);
        after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let after = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = hashes + 1;
        let length = after[body..].find(&end).map_or(after.len(), |at| body + at + end.len());
        return Some(prefix.len() + length);
    }
    after.starts_with('"').then(|| prefix.len() + string(after))
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        match here {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A lifetime begins like a character and does not end like one.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    match chars.next()? {
        (_, '\\') => {
            chars.next();
            chars.find(|(_, char)| *char == '\'').map(|(at, _)| at + 1)
        }
        _ => chars.next().filter(|(_, char)| *char == '\'').map(|(at, _)| at + 1),
    }
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"x\\\"y\", 'z')", "f(      ,    )"),
        ("r#\"a\"b\"# c", "         c"),
        ("b\"x\" br\"x\\\" c", "               c"),
        ("'{' '\\'' '\\u{7f}' x", "                  x"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("over\"x\"", "over   "),
        ("\"a\nb\" c", "  \n   c"),
    ] {
        let left: Vec<_> = blanked(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(left, code.split_whitespace().collect::<Vec<_>>(), "{text}");
        assert_eq!(blanked(text).lines().count(), text.lines().count());
    }
}

#[test]
fn test_lines_are_known() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let source = Source::new("engine/src/x.rs", text);
    let tests: Vec<_> = (1..=6).map(|line| source.is_test(line)).collect();
    assert_eq!(tests, [false, true, true, true, true, false]);
    assert!(Source::new("engine/tests/x.rs", text).is_test(1));
    let outside = Source::new("engine/src/x.rs", "#[cfg(test)]\nmod tests;\nfn c() {}\n");
    assert!(outside.is_test(2) && !outside.is_test(3));
}

#[test]
fn modules_for_tests_are_tests_wherever_they_are() {
    let text = "#[cfg(test)]\npub(crate) mod contract;\nmod epoll;\n";
    let modules = Source::new("engine/src/driver/mod.rs", text).test_modules();
    assert_eq!(modules, ["engine/src/driver/contract.rs", "engine/src/driver/contract/"]);
    for (path, test) in [
        ("engine/src/driver/contract/closing.rs", true),
        ("engine/src/driver/contract.rs", true),
        ("engine/src/driver/epoll.rs", false),
    ] {
        let mut source = Source::new(path, "fn f() {}\n");
        source.mark_tests(&modules);
        assert_eq!(source.is_test(1), test, "{path}");
    }
    let inner = Source::new("engine/src/log.rs", "#[cfg(test)]\nmod model;\n").test_modules();
    assert_eq!(inner[0], "engine/src/log/model.rs");
}
