//! What is called JSON is read by the parsers that people use, envelope and all; and each rule
//! beyond RFC 8259 has a parser that needs it. Runs those that this machine has.

use std::io::Write;
use std::process::{Command, Stdio};

use fanfare::payload::{Why, check};

/// A program that reads one document a line and says `ok` or `no` for each.
struct Parser {
    name: &'static str,
    command: &'static [&'static str],
    /// The rules that it needs.
    needs: &'static [Why],
}

const PARSERS: [Parser; 6] = [
    Parser {
        name: "python3 json",
        command: &[
            "python3",
            "-c",
            "import json,sys\nfor line in sys.stdin:\n try: json.loads(line); print('ok')\n except \
             (ValueError, RecursionError): print('no')",
        ],
        needs: &[],
    },
    Parser {
        name: "node JSON.parse",
        command: &[
            "node",
            "-e",
            "for (const line of require('fs').readFileSync(0,'utf8').split('\\n').slice(0,-1)) { \
             let r='ok'; try { JSON.parse(line) } catch { r='no' } console.log(r) }",
        ],
        needs: &[],
    },
    Parser {
        name: "ruby json",
        command: &[
            "ruby",
            "-rjson",
            "-e",
            "STDIN.each_line { |l| begin; JSON.parse(l); puts 'ok'; rescue StandardError; \
             puts 'no'; end }",
        ],
        needs: &[Why::Depth, Why::Surrogate],
    },
    Parser {
        name: "php json_decode",
        command: &[
            "php",
            "-r",
            "while (($l = fgets(STDIN)) !== false) { json_decode(trim($l)); \
             echo json_last_error() ? 'no' : 'ok', PHP_EOL; }",
        ],
        needs: &[Why::Surrogate, Why::NulName],
    },
    Parser {
        name: "perl JSON::PP",
        command: &[
            "perl",
            "-MJSON::PP",
            "-ne",
            "chomp; print eval { decode_json($_); 1 } ? \"ok\\n\" : \"no\\n\"",
        ],
        needs: &[Why::Surrogate],
    },
    Parser {
        name: "jq",
        command: &["jq", "-Rr", "try (fromjson | \"ok\") catch \"no\""],
        needs: &[],
    },
];

/// Data in the deepest envelope there is.
fn poll(data: &str) -> String {
    format!(
        "{{\"id\":\"28t5cy4t-1042\",\"messages\":[{{\"channel\":\"demo\",\"id\":\"28t5cy4t-1042\",\
         \"offset\":17,\"data\":{data}}}]}}"
    )
}

/// At the edge of what our rules let pass.
fn fit() -> Vec<String> {
    let arrays = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    vec![
        arrays(64),
        objects(64),
        "[1.7976931348623157e308,-1.7976931348623157e308,1e-400,-0,-0.0,0e99999999999]".into(),
        format!("[{},0.{}]", "1".repeat(308), "1".repeat(998)),
        "[123456789012345678901234567890,18446744073709551616,-9223372036854775809]".into(),
        r#"["\ud83d\ude00","\u0000","\uffff\u2028","a\u0000b","\/"]"#.into(),
        "[\"\u{2028}\u{7f}\u{feff}\u{ffff}\"]".into(),
        format!(r#"{{"":1,"a\u0000":1,"__proto__":1,"{}":1}}"#, "k".repeat(50_000)),
        r#"{"a":1,"a":2}"#.into(),
        format!("\"{}\"", "x".repeat(1_000_000)),
    ]
}

/// Beyond it, by one rule each.
fn unfit() -> Vec<(Why, String)> {
    let arrays = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        (Why::Depth, arrays(101)),
        (Why::Depth, arrays(100_000)),
        (Why::Infinite, "1E400".into()),
        (Why::LongNumber, format!("0.{}", "1".repeat(1_001))),
        (Why::Surrogate, r#""\ud800""#.into()),
        (Why::NulName, r#"{"\u0000a":1}"#.into()),
        (Why::LongName, format!(r#"{{"{}":1}}"#, "k".repeat(50_001))),
    ]
}

/// What the parser says of each; `None` where this machine does not have it.
fn says(parser: &Parser, documents: &[String]) -> Option<Vec<String>> {
    let (program, arguments) = parser.command.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input: String = documents.iter().map(|document| format!("{document}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let wrote = writer.join().unwrap();
    let lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect();
    // A program of that name without its JSON says nothing at all.
    (!lines.is_empty()).then(|| {
        wrote.unwrap();
        lines
    })
}

#[test]
fn every_parser_reads_what_is_called_json() {
    let data = fit();
    for document in &data {
        assert_eq!(check(document), Ok(()));
    }
    let documents: Vec<_> = data.iter().map(|data| poll(data)).collect();
    let mut asked = 0;
    for parser in &PARSERS {
        let Some(answers) = says(parser, &documents) else { continue };
        assert_eq!(answers.len(), documents.len(), "{}", parser.name);
        for (answer, data) in answers.iter().zip(&data) {
            assert_eq!(answer, "ok", "{}: {}", parser.name, &data[..data.len().min(80)]);
        }
        asked += 1;
    }
    assert!(asked > 0, "no parser is at hand, not even Python's");
}

#[test]
fn every_rule_is_there_for_a_parser() {
    let unfit = unfit();
    for (why, document) in &unfit {
        assert_eq!(check(document).unwrap_err().why, *why);
    }
    let documents: Vec<_> = unfit.iter().map(|(_, data)| poll(data)).collect();
    for parser in &PARSERS {
        let Some(answers) = says(parser, &documents) else { continue };
        for needed in parser.needs {
            let refused =
                |((why, _), answer): (&(Why, String), &String)| why == needed && answer == "no";
            assert!(unfit.iter().zip(&answers).any(refused), "{} {needed:?}", parser.name);
        }
    }
}
