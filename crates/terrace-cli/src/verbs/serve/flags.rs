//! The flags of `serve`: one for every parameter that has a meaning, made from the server's table.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use terrace_server::{Kind, Parameter, Section};

/// The parameters that were given on the command line.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Name and value of each.
    pub(super) given: Vec<(String, String)>,
}

fn parameters() -> impl Iterator<Item = &'static Parameter> {
    terrace_server::parameters().filter(|parameter| parameter.is_flag())
}

fn flag(parameter: &'static Parameter) -> Arg {
    let default = if parameter.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", parameter.default)
    };
    let mut flag = Arg::new(parameter.name)
        .long(parameter.name)
        .value_name(value_name(parameter.kind))
        .help(format!("{}{default}", parameter.help))
        .help_heading(heading(parameter.section))
        .allow_hyphen_values(true)
        .ignore_case(true);
    flag = match parameter.kind {
        Kind::OneOf(words) => flag.value_parser(PossibleValuesParser::new(words)),
        kind => flag.value_parser(move |text: &str| kind.check(text)),
    };
    if let Some(alias) = parameter.alias {
        flag = flag.visible_alias(alias);
    }
    flag
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::YesNo => "yes|no",
        Kind::Integer { .. } => "N",
        Kind::Bytes { .. } | Kind::BytesOrPercent => "SIZE",
        Kind::Octal { .. } => "MODE",
        Kind::OneOf(_) => "WORD",
        Kind::Text | Kind::Secret | Kind::Special { .. } => "VALUE",
    }
}

fn heading(section: Section) -> &'static str {
    match section {
        Section::Network => "Network",
        Section::Clients => "Clients",
        Section::Security => "Security",
        Section::Store => "Store",
        Section::Observation => "Logs and observation",
        Section::Kept => "Without effect",
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for parameter in parameters() {
            if let Some(text) = matches.get_one::<String>(parameter.name) {
                self.given.push((parameter.name.into(), text.clone()));
            }
        }
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(parameters().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
