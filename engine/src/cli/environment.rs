//! Variables of the environment that are ours by their name and that nobody reads: most likely
//! misspelled. Only those that are near a real one are told: an orchestrator sets others beside
//! them (`FANFARE_SERVICE_HOST`), and some are meant for other programs.

use std::env;

use clap::Command;

use crate::config::meant;

const PREFIX: &str = "FANFARE_";
/// Those that are read and are no flag's.
const WITHOUT_FLAG: [&str; 2] = ["FANFARE_API_KEY", "FANFARE_LOG"];

/// A sentence for each variable that is not read and looks like one that is. `line` makes the whole
/// command line, whose flags name theirs.
pub(super) fn misspelled(line: impl FnOnce() -> Command) -> Vec<String> {
    let set = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let ours: Vec<String> = set.filter(|name| name.starts_with(PREFIX)).collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let mut known = WITHOUT_FLAG.map(str::to_owned).to_vec();
    collect(&line(), &mut known);
    ours.iter().filter_map(|name| warning(name, &known)).collect()
}

fn collect(command: &Command, known: &mut Vec<String>) {
    let variables = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    known.extend(variables.map(str::to_owned));
    command.get_subcommands().for_each(|deeper| collect(deeper, known));
}

fn warning(name: &str, known: &[String]) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    if known.iter().any(|known| known == name) {
        return None;
    }
    let meant = meant::nearest(rest, known.iter(), |one| one.strip_prefix(PREFIX).unwrap_or(one))?;
    Some(format!("{name} in the environment is not read; did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_near_a_known_one_is_told() {
        let known = ["FANFARE_LISTEN", "FANFARE_API_KEY", "FANFARE_HOSTS"].map(str::to_owned);
        let told = |name| warning(name, &known);
        let said = told("FANFARE_LISTNE").unwrap();
        assert!(said.ends_with("did you mean FANFARE_LISTEN?"), "{said}");
        assert!(told("FANFARE_APIKEY").unwrap().contains("FANFARE_API_KEY"));
        for right in ["FANFARE_LISTEN", "FANFARE_SERVICE_HOST", "FANFARE_PORT_7070_TCP", "LISTNE"] {
            assert_eq!(told(right), None, "{right}");
        }
    }
}
