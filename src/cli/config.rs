//! The configuration file and the effective configuration. Precedence: a setting's flag, its environment variable, the
//! file, the default.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, Command, error::ErrorKind, parser::ValueSource};
use toml_edit::{DocumentMut, Item, Value};

use super::{args::Wrong, exit::Outcome, print, serve::ServerSettings};
use crate::auth::without_secrets;

/// Commands that can take their settings from a file.
const COMMANDS: [&str; 4] = ["serve", "config", "agi", "esl"];

/// Similarity from 0 to 1 above which an unknown key gets a known one as a suggestion.
const MIN_SIMILARITY: f64 = 0.75;

/// Arguments of `config`.
#[derive(Args)]
pub(super) struct Config {
    #[command(flatten)]
    settings: ServerSettings,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// The parsed command line, and the settings that came from the file.
pub(super) struct ParsedCommand {
    pub matches: ArgMatches,
    from_file: BTreeSet<String>,
    file: Option<PathBuf>,
}

/// Read the arguments, and the file that they or the environment name. Exits on invalid arguments, as clap does.
pub(super) fn parse(command: Command, arguments: Vec<OsString>) -> anyhow::Result<ParsedCommand> {
    let (matches, missing) = match command.clone().try_get_matches_from(&arguments) {
        Ok(matches) => (matches, None),
        // A missing setting, such as the key of a certificate, may be in the file.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            (command.clone().ignore_errors(true).get_matches_from(&arguments), Some(error))
        }
        Err(error) => error.exit(),
    };
    let of_command = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name));
    let named = of_command.and_then(|(name, given)| Some((name, given, given.get_one::<PathBuf>("config")?.clone())));
    let Some((name, given, file)) = named else {
        if let Some(missing) = missing {
            missing.exit();
        }
        return Ok(ParsedCommand { matches, from_file: BTreeSet::new(), file: None });
    };
    let keys = keys(&command, name);
    let mut from_file = read(&file, name, &keys)?;
    from_file.retain(|(key, _)| {
        !matches!(given.value_source(&id(key)), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    });
    let matches = match with(command, arguments, &from_file) {
        Ok(matches) => matches,
        // Missing in the arguments and in the file.
        Err(error) if missing.is_some() && error.kind() == ErrorKind::MissingRequiredArgument => error.exit(),
        Err(error) => return Err(wrong(&file, &in_one_line(&error)).into()),
    };
    let from_file = from_file.into_iter().map(|(key, _)| key).collect();
    Ok(ParsedCommand { matches, from_file, file: Some(file) })
}

/// Read arguments together with settings of a file.
pub(super) fn with(
    command: Command,
    mut arguments: Vec<OsString>,
    from_file: &[(String, String)],
) -> Result<ArgMatches, clap::Error> {
    arguments.extend(from_file.iter().map(|(key, value)| format!("--{key}={value}").into()));
    command.try_get_matches_from(arguments)
}

/// The error of a setting in a file, without clap's hints for arguments.
pub(super) fn in_one_line(error: &clap::Error) -> String {
    error.to_string().trim_start_matches("error: ").lines().next().unwrap_or_default().to_owned()
}

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// One value.
    One,
    /// Several values, which a flag separates by this character.
    List(char),
}

/// The keys that a file may have, which are the flags of the settings, with their types.
pub(super) fn keys(command: &Command, name: &str) -> BTreeMap<String, Holds> {
    let arguments = command.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
    let keys = arguments.filter_map(|argument| {
        let holds = argument.get_value_delimiter().map_or(Holds::One, Holds::List);
        Some((argument.get_long()?.to_owned(), holds))
    });
    keys.filter(|(name, _)| !["config", "json", "help", "version"].contains(&name.as_str())).collect()
}

/// clap's name for a flag.
fn id(key: &str) -> String {
    key.replace('-', "_")
}

fn read(file: &Path, command: &str, keys: &BTreeMap<String, Holds>) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file).map_err(|error| wrong(file, &format!("can't be read: {error}")))?;
    Ok(settings(&text, command, keys).map_err(|problem| wrong(file, &problem))?)
}

/// The error of a file. Redacts secrets, because users may put tokens into the wrong file.
pub(super) fn wrong(file: &Path, problem: &str) -> Wrong {
    Wrong(without_secrets(&format!("`{}`: {problem}", file.display())))
}

/// The settings in a file's text for a command.
pub(super) fn settings(
    text: &str,
    command: &str,
    keys: &BTreeMap<String, Holds>,
) -> Result<Vec<(String, String)>, String> {
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.lines().count().max(1), error.message())
    })?;
    document.iter().map(|(key, item)| setting(key, item, command, keys)).collect()
}

fn setting(key: &str, item: &Item, command: &str, keys: &BTreeMap<String, Holds>) -> Result<(String, String), String> {
    let Some(holds) = keys.get(key) else {
        let like = |known: &&String| strsim::jaro_winkler(&key.replace('_', "-"), known);
        let near = keys.keys().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|near| like(near) >= MIN_SIMILARITY);
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if matches!(command, "agi" | "esl") => format!("`queuegate {command} --help` lists the settings"),
            None => "`queuegate config` lists the settings".to_owned(),
        };
        return Err(format!("there is no setting `{}`; {hint}", crate::domain::ids::shortened(key)));
    };
    let several = match item.as_value() {
        Some(Value::Array(several)) => Some(several.iter().map(single).collect::<Option<Vec<String>>>()),
        _ => None,
    };
    let value = match (holds, several) {
        (Holds::List(delimiter), Some(several)) => {
            let fit = several.filter(|several| several.iter().all(|one| !one.contains(*delimiter)));
            fit.map(|several| several.join(&delimiter.to_string()))
        }
        (Holds::List(_) | Holds::One, _) => item.as_value().and_then(single),
    };
    let expected = match holds {
        Holds::One => "a text, a number, true or false".to_owned(),
        Holds::List(delimiter) => format!("a list of texts without `{delimiter}`, or a text"),
    };
    Ok((key.to_owned(), value.ok_or_else(|| format!("`{key}` must be {expected}"))?))
}

/// The value as text for a flag.
fn single(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(answer) => Some(answer.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

impl Config {
    /// Print the effective configuration.
    pub(super) fn run(self, command: &Command, parsed: &ParsedCommand) -> anyhow::Result<Outcome> {
        let Some(("config", matches)) = parsed.matches.subcommand() else { return Ok(Outcome::Done) };
        let rows = rows(command, parsed, matches);
        if self.json {
            let settings = rows.into_iter().map(|[key, value, source]| {
                let value = if value == UNSET { serde_json::Value::Null } else { value.into() };
                (key, serde_json::json!({ "value": value, "source": source }))
            });
            print::line(&format!("{:#}", serde_json::Value::Object(settings.collect())))?;
        } else {
            print::table(["SETTING", "VALUE", "FROM"], rows)?;
        }
        Ok(Outcome::Done)
    }
}

/// Printed for an absent value.
const UNSET: &str = "-";

/// Each setting, its value, and its source.
fn rows(command: &Command, parsed: &ParsedCommand, matches: &ArgMatches) -> Vec<[String; 3]> {
    let file = parsed.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let arguments = command.find_subcommand("config").into_iter().flat_map(Command::get_arguments);
    let rows = arguments.filter_map(|argument| {
        let key = argument.get_long().filter(|key| !["json", "help", "version"].contains(key))?;
        let values = matches.get_raw(&id(key)).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let source = match matches.value_source(&id(key)) {
            Some(ValueSource::CommandLine) if parsed.from_file.contains(key) => file.clone(),
            Some(ValueSource::CommandLine) => format!("--{key}"),
            Some(ValueSource::EnvVariable) => {
                argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Some(_) => "default".to_owned(),
            None => UNSET.to_owned(),
        };
        let value = if values.is_empty() { UNSET.to_owned() } else { values.join(" ") };
        Some([key.to_owned(), value, source])
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let keys = ["listen", "drain-deadline", "max-connections", "insecure"].map(str::to_owned);
        let mut keys: BTreeMap<_, _> = keys.map(|key| (key, Holds::One)).into();
        keys.insert("allow".to_owned(), Holds::List(','));
        settings(text, "serve", &keys)
    }

    #[test]
    fn a_file_gives_settings_by_the_names_of_the_flags() {
        let text = "# a comment\nlisten = \"127.0.0.1:1\"\nmax-connections = 7\ninsecure = true\n\
                    drain-deadline = 0.5\nallow = [\"a\", 2]\n";
        let expected = [
            ("listen", "127.0.0.1:1"),
            ("max-connections", "7"),
            ("insecure", "true"),
            ("drain-deadline", "0.5"),
            ("allow", "a,2"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_suggests_the_near_one() {
        for (text, says) in [
            ("drain_deadline = \"1s\"", "there is no setting `drain_deadline`; did you mean `drain-deadline`?"),
            ("lisen = \"x\"", "did you mean `listen`?"),
            ("zzz = 1", "`queuegate config` lists the settings"),
            ("[server]\nlisten = \"x\"", "there is no setting `server`"),
            ("listen = [\"x\"]", "`listen` must be a text, a number, true or false"),
            ("allow = [\"a,b\"]", "`allow` must be a list of texts without `,`"),
            ("allow = [[\"a\"]]", "`allow` must be a list"),
            ("listen = 2026-11-28", "`listen` must be a text"),
            ("a = 1\nlisten == 2", "line 2: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = settings("zzz = 1", "agi", &BTreeMap::new()).unwrap_err();
        assert!(error.contains("`queuegate agi --help` lists the settings"), "{error}");
    }
}
