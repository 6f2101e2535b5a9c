//! What may stand on the command line, and what `--help` says about it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{NonEmptyStringValueParser, UnknownArgumentValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use fanfare_protocol::refusals;

use super::exit;
use super::serve_flags::{Serve, variable};
use crate::config::units::{self, OptionalAddress};

const AFTER_HELP: &str = "\
Three commands to begin with, each in a terminal of its own:
  fanfare                                    start a server, for this machine only
  fanfare tail demo                          follow the channel \"demo\"
  fanfare publish demo '{\"hello\":\"world\"}'   everyone who follows it has it

Without a command, and before any flag, the command is serve:
  fanfare --listen 127.0.0.1:8080            is fanfare serve --listen 127.0.0.1:8080

Environment:
  Every flag of serve but --i-understand-insecure has a variable: --listen is FANFARE_LISTEN, and
  so on (fanfare serve --help).
  FANFARE_API_KEY   what the API asks for as Bearer, 16 characters or more; never a flag, because
                    everyone sees flags
  FANFARE_LOG       what is logged: a level (debug), or one for each part (warn,fanfare=debug);
                    else RUST_LOG counts
  NO_COLOR          no colors in the log

Exit codes:
  0 done   64 wrong flags   65 data refused
  69 a server, a port or the like is not there, or the machine will not hold it (doctor)
  74 input or output failed   77 not allowed   78 the configuration is wrong
  101 a bug of Fanfare: please report what stands on standard error
  129, 130, 143 ended at once by a second SIGHUP, SIGINT, SIGTERM";

const SERVE_AFTER_HELP: &str = "\
A flag wins over the environment, the environment over the file, the file over the default.
`fanfare config show-default` prints a file with every key to begin with; `fanfare config check`
takes the same flags and says what would be used, `fanfare doctor` whether this machine will
hold it.

SIGTERM or SIGINT ends gracefully: clients are told to come back, and the exit code is 0. A second
one ends at once. SIGHUP reads the configuration file again (docs/AUTH.md says what changes so);
without a file it is an end too.

Examples:
  fanfare serve                              this machine only: 127.0.0.1:7070, API on 7071
  fanfare serve --config /etc/fanfare.toml
  fanfare serve --listen 127.0.0.1:0 --api none --socket /run/user/1000/events.sock";

const PUBLISH_AFTER_HELP: &str = "\
Examples:
  fanfare publish demo '{\"hello\":\"world\"}'
  date | fanfare publish demo -
  tail -f app.log | fanfare publish --quiet --kind text logs -
  fanfare publish orders '{\"id\":7}' --also \"shop:3\" --also \"user:1\"

For each message a line says {\"id\",\"offset\",\"subscribers\"}: its place in the order, its number
in the channel, and how many connections follow the channel there; an ephemeral one has only the
last. With --also there are \"channels\" instead, a list with the numbers of each. When the process
exits with 0, every message was accepted.

Exit codes:
  64 a wrong channel, event or origin   65 a message was refused   69 no server   77 not let in";

const TAIL_AFTER_HELP: &str = "\
Examples:
  fanfare tail demo                          a payload per line
  fanfare tail --json orders invoices        channel, id, offset, event and data
  fanfare tail --since 4k7m2x9d-1042 demo    what was missed since, then live
  fanfare tail --since 10m demo              the last ten minutes, then live
  fanfare tail --last 20 demo                the last twenty, then live

A lost connection is made again, from where it broke off. What is lost nevertheless is said on
standard error, never passed over.

Binary payloads are printed as base64. SIGINT ends with 0.

Exit codes:
  64 a wrong URL or channel name   65 the server refused the request   69 no server
  77 not let in";

/// Publish once, and every client that follows the channel has it: WebSocket, SSE, long-poll.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, after_help = AFTER_HELP, max_term_width = 100,
    override_usage = "fanfare [COMMAND]\n       fanfare [OPTIONS OF SERVE]")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the server (what happens without a command)
    #[command(after_help = SERVE_AFTER_HELP)]
    Serve(Serve),
    /// Publish to a channel over the server's Unix socket
    #[command(after_help = PUBLISH_AFTER_HELP)]
    Publish(Publish),
    /// Follow channels: a payload per line
    #[command(after_help = TAIL_AFTER_HELP)]
    Tail(Tail),
    /// Load a server and measure it: connections, latency, throughput, memory, loss
    #[command(after_help = super::bench::AFTER_HELP)]
    Bench(Box<super::bench::Bench>),
    /// Make a token for development, or explain one (token check)
    #[command(after_help = super::token::AFTER_HELP, args_conflicts_with_subcommands = true)]
    Token(Box<super::token::TokenCommand>),
    /// Say whether this machine will hold what serve would start, and what to change
    #[command(after_help = super::doctor::AFTER_HELP)]
    Doctor(Box<super::doctor::Doctor>),
    /// Say whether somebody may do something with a channel, and what decides it
    #[command(after_help = super::explain::AFTER_HELP)]
    Explain(super::explain::Explain),
    /// Make a key for a backend, and its hash for the configuration
    #[command(after_help = super::api_key::AFTER_HELP)]
    ApiKey(super::api_key::ApiKey),
    /// Check a configuration, explain it, or print one to begin with
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say what would be used and who said it, or everything that is wrong (exit 78)
    Check(Serve),
    /// Print a commented file with every key and its default
    ShowDefault,
    /// Say which rule counts for a channel, where it stands, and what it keeps and allows
    Explain(super::config::ExplainChannel),
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Which channel: 1 to 255 bytes, no control character, no "*"
    #[arg(value_parser = channel)]
    pub(super) channel: String,
    /// The message, or "-" for one of each line of standard input [default: -]
    #[arg(allow_hyphen_values = true)]
    pub(super) data: Option<OsString>,
    /// Another channel for the same message, at the same position: who follows both gets it once.
    /// May be given several times
    #[arg(long, value_name = "CHANNEL", value_parser = channel)]
    pub(super) also: Vec<String>,
    /// Name of the event, for clients that tell events apart
    #[arg(long, value_name = "NAME", value_parser = event)]
    pub(super) event: Option<String>,
    /// For those who follow now alone: no history keeps it
    #[arg(long)]
    pub(super) ephemeral: bool,
    /// The connection that does not get it, by the "origin" that its fanfare.open told it
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(super) except: Option<String>,
    /// What the message is
    #[arg(long, value_enum, default_value_t)]
    pub(super) kind: KindChoice,
    /// Print nothing for accepted messages
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// The server's Unix socket
    /// [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH", env = "FANFARE_SOCKET", hide_env_values = true,
        value_parser = units::socket_or_none)]
    pub(super) socket: Option<OptionalAddress<PathBuf>>,
}

/// What `--kind` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum KindChoice {
    /// JSON where it is valid JSON, else text where it is UTF-8, else binary
    #[default]
    Auto,
    /// JSON; anything else is refused
    Json,
    /// UTF-8, not looked at any further
    Text,
    /// Any bytes
    Binary,
}

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Which channels
    #[arg(required = true, value_name = "CHANNEL", value_parser = channel)]
    pub(super) channels: Vec<String>,
    /// Begin after an id, with the oldest that is kept (earliest), with what is so old (10m) or
    /// with what is from a time (@ and seconds since 1970) instead of now
    #[arg(long, value_name = "WHEN", value_parser = since, conflicts_with = "last")]
    pub(super) since: Option<String>,
    /// Begin with the last so many messages of each channel
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(super) last: Option<u64>,
    /// Print the whole envelope: channel, id, offset, event and data. With or without, a message
    /// is one line: line breaks and control characters are printed as escapes (\n, \u001b)
    #[arg(long)]
    pub(super) json: bool,
    /// The token that says who follows, where the server asks. In FANFARE_TOKEN it is not seen by
    /// whoever lists processes
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new())]
    pub(super) token: Option<String>,
    /// The server's public address
    #[arg(long, env = "FANFARE_URL", hide_env_values = true,
        default_value = "http://127.0.0.1:7070", value_parser = NonEmptyStringValueParser::new())]
    pub(super) url: String,
}

pub(super) fn channel(text: &str) -> Result<String, String> {
    if fanfare_protocol::names::is_channel_name(text) {
        return Ok(text.into());
    }
    Err(refusals::BAD_CHANNEL.into())
}

fn event(text: &str) -> Result<String, String> {
    if fanfare_protocol::names::is_event_name(text) {
        return Ok(text.into());
    }
    Err(refusals::BAD_EVENT.into())
}

fn origin(text: &str) -> Result<String, String> {
    if fanfare_protocol::names::origin_number(text.as_bytes()).is_some() {
        return Ok(text.into());
    }
    Err(refusals::BAD_EXCEPT.into())
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is how many messages, as in \"20\"".into())
}

fn since(text: &str) -> Result<String, String> {
    match fanfare_protocol::since::Since::parse(text) {
        Some(_) => Ok(text.into()),
        None => {
            Err("it is an id that Fanfare gave out, as in \"4k7m2x9d-1042\", or \"earliest\", \
                     an age as in \"90s\", \"10m\", \"2h\" or \"1d\", or a time as in \
                     \"@1764180000\", in seconds since 1970"
                .into())
        }
    }
}

/// A command line that names no command to run: `--help`, or a mistake.
pub(super) struct Refusal {
    text: String,
    /// Help was asked for: it goes to standard output.
    asked: bool,
    code: u8,
}

impl Refusal {
    /// Prints it.
    pub(super) fn tell(self) -> ExitCode {
        use std::io::Write;
        if !self.asked {
            let _ = std::io::stderr().write_all(self.text.as_bytes()); // nobody is left to tell
            return ExitCode::from(self.code);
        }
        let mut out = std::io::stdout().lock();
        let printed = out.write_all(self.text.as_bytes()).and_then(|()| out.flush());
        match printed.or_else(|error| exit::output(&error)) {
            Ok(()) => ExitCode::from(self.code),
            Err(failure) => failure.tell(),
        }
    }
}

/// What the program is called with. Words that a stranger tries for where the server is are known,
/// so that the answer names the right one.
pub(super) fn command_line() -> clap::Command {
    let meant = |flag: &'static str, instead: &'static str| {
        let parser = UnknownArgumentValueParser::suggest_arg(instead);
        Arg::new(flag).long(flag).hide(true).value_parser(parser)
    };
    CommandLine::command()
        .mut_subcommand("publish", |publish| {
            publish.args(["server", "url"].map(|flag| meant(flag, "--socket")))
        })
        .mut_subcommand("tail", |tail| {
            tail.args(["server", "socket"].map(|flag| meant(flag, "--url")))
        })
}

/// The command of a command line (whose first word is the program), with the matches that know
/// where each value came from.
pub(super) fn parse(mut words: Vec<OsString>) -> Result<(Command, ArgMatches), Refusal> {
    if words.is_empty() {
        words.push("fanfare".into());
    }
    if serves(words.get(1).map(OsString::as_os_str)) {
        words.insert(1, "serve".into());
    }
    let matches = command_line().try_get_matches_from(&words);
    let matches = matches.map_err(|error| refusal(&error, &words))?;
    let line = CommandLine::from_arg_matches(&matches).map_err(|error| refusal(&error, &words))?;
    Ok((line.command, matches))
}

/// Whether the first word after the program leaves the command out.
fn serves(first: Option<&OsStr>) -> bool {
    match first {
        None => true,
        Some(word) => {
            let about_all = ["-h", "--help", "-V", "--version"].map(OsStr::new);
            word.as_encoded_bytes().starts_with(b"-") && !about_all.contains(&word)
        }
    }
}

fn refusal(error: &clap::Error, words: &[OsString]) -> Refusal {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Refusal { text: error.render().to_string(), asked: true, code: 0 };
    }
    // clap blames the flag. Where nobody wrote it, the environment is to blame, and that is
    // configuration.
    if let Some(name) = blamed_variable(error, words) {
        let why = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
        let text = format!("fanfare: {name} in the environment: {why}\n");
        return Refusal { text, asked: false, code: exit::CONFIG };
    }
    Refusal { text: error.render().to_string(), asked: false, code: exit::USAGE }
}

fn blamed_variable(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let ErrorKind::ValueValidation = error.kind() else { return None };
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // "--listen <ADDR>", "--no-dev[=<BOOL>]"
    let flag = argument.split([' ', '[', '=']).next()?;
    let id = flag.strip_prefix("--")?.replace('-', "_");
    let written = words.iter().any(|word| {
        let rest = word.as_encoded_bytes().strip_prefix(flag.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'=')
    });
    let name = variable(&id);
    (!written && std::env::var_os(&name).is_some()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn parsed(line: &str) -> Result<Command, Refusal> {
        let words = line.split_whitespace().map(OsString::from).collect();
        parse(words).map(|(command, _)| command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn serve_needs_no_word() {
        for line in ["fanfare", "fanfare --shards 2", "fanfare serve --shards=2", ""] {
            assert!(matches!(parsed(line), Ok(Command::Serve(_))), "{line}");
        }
        assert!(matches!(parsed("fanfare tail demo"), Ok(Command::Tail(_))));
    }

    #[test]
    fn flags_are_told_by_their_names() {
        let words = ["fanfare", "--listen", "127.0.0.1:5", "--no-dev"].map(OsString::from);
        let (command, matches) = parse(words.into()).ok().unwrap();
        let Command::Serve(serve) = command else { panic!("{command:?}") };
        let overrides = serve.overrides(&matches).unwrap();
        let listen = overrides.listen.unwrap();
        assert_eq!(listen.source, Source::Flag("--listen".into()));
        let no_dev = overrides.no_dev.unwrap();
        assert_eq!((no_dev.value, no_dev.source), (true, Source::Flag("--no-dev".into())));
    }

    #[test]
    fn mistakes_are_usage_and_help_is_not() {
        for (line, code, asked) in [
            ("fanfare --help", 0, true),
            ("fanfare -V", 0, true),
            ("fanfare tail --help", 0, true),
            ("fanfare --nonsense", 64, false),
            ("fanfare nonsense", 64, false),
            ("fanfare --shards 0", 64, false),
            ("fanfare --listen here", 64, false),
            ("fanfare tail", 64, false),
            ("fanfare tail a*", 64, false),
            ("fanfare tail a --since yesterday", 64, false),
            ("fanfare tail a --last -1", 64, false),
            ("fanfare tail a --last 1 --since 1m", 64, false),
            ("fanfare publish a --event fanfare.x", 64, false),
            ("fanfare publish a --except me", 64, false),
            ("fanfare config", 64, false),
        ] {
            let refusal = parsed(line).expect_err(line);
            assert_eq!((refusal.code, refusal.asked), (code, asked), "{line}: {}", refusal.text);
        }
    }

    #[test]
    fn a_guessed_flag_is_answered_with_the_right_one() {
        for (line, right) in [
            ("fanfare publish demo x --server y", "--socket"),
            ("fanfare publish demo x --url=y", "--socket"),
            ("fanfare tail demo --server y", "--url"),
            ("fanfare tail demo --socket y", "--url"),
        ] {
            let refusal = parsed(line).expect_err(line);
            assert_eq!(refusal.code, 64, "{}", refusal.text);
            assert!(refusal.text.contains(&format!("exists: '{right}'")), "{}", refusal.text);
        }
    }

    #[test]
    fn data_may_begin_with_a_dash() {
        let Ok(Command::Publish(publish)) = parsed("fanfare publish demo -5") else { panic!() };
        assert_eq!(publish.data.as_deref(), Some(OsStr::new("-5")));
    }
}
