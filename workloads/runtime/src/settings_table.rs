//! The settings of a program as a Markdown table, made from its command line, so that the documents cannot drift from the code.

use std::fmt::Write as _;

use clap::Command;

/// A table of every flag of `command`: flag, environment variable, default, meaning.
pub fn settings_table(command: &Command) -> String {
    let mut table = String::from("| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for argument in command.get_arguments() {
        let Some(flag) =
            argument.get_long().filter(|flag| !matches!(*flag, "help" | "version" | "print-settings"))
        else {
            continue;
        };
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let default: Vec<String> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default = match (default.is_empty(), argument.is_required_set()) {
            (false, _) => format!("`{}`", default.join(",")),
            (true, true) => "required".to_owned(),
            (true, false) => String::new(),
        };
        let meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|value| !matches!(value.get_name(), "true" | "false"))
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let values =
            if values.is_empty() { String::new() } else { format!(". One of {}.", values.join(", ")) };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `--{flag}` | `{variable}` | {default} | {}{values} |",
            meaning.replace('|', "\\|")
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        /// Where it listens.
        #[arg(long, env = "LISTEN", default_value = "127.0.0.1:1")]
        _listen: String,
        /// Who it asks.
        #[arg(long, env = "ASK")]
        _ask: String,
    }

    #[test]
    fn every_flag_is_a_row() {
        let table = settings_table(&Arguments::command());
        assert!(table.contains("| `--listen` | `LISTEN` | `127.0.0.1:1` | Where it listens |"), "{table}");
        assert!(table.contains("| `--ask` | `ASK` | required | Who it asks |"), "{table}");
    }
}
