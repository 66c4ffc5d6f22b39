use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::reference::TOPICS;
use super::{Failed, Outcome, print};
use crate::config;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate man --dir ~/.local/share/man/man1 && man tidegate-token-issue"
)]
pub(super) struct Arguments {
    /// Where the pages go; made if it is missing.
    #[arg(long = "dir", value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let directory = &arguments.directory;
    let unusable = |path: &Path, error: io::Error| {
        Failed::because(format!("`{}` can't be written: {error}", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| unusable(directory, error))?;
    let mut command = super::Arguments::command().disable_help_subcommand(true);
    command.build(); // so that each command knows its whole name
    let pages = pages(&command);
    let names: Vec<_> = pages.iter().map(Man::get_filename).collect();
    for page in &pages {
        let path = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)?;
        text.extend_from_slice(common(&page.get_filename(), &names).as_bytes());
        fs::write(&path, text).map_err(|error| unusable(&path, error))?;
        print(path.display())?;
    }
    // Beside `man1` stands `man5`, where man looks for the pages of files.
    let of_files = match (directory.file_name(), directory.parent()) {
        (Some(name), Some(above)) if name == "man1" => above.join("man5"),
        _ => directory.clone(),
    };
    fs::create_dir_all(&of_files).map_err(|error| unusable(&of_files, error))?;
    for topic in &TOPICS {
        let path = of_files.join(format!("{}.5", topic.page));
        fs::write(&path, topic.man()).map_err(|error| unusable(&path, error))?;
        print(path.display())?;
    }
    Ok(Outcome::Good)
}

/// A page for a command, and one for each under it.
fn pages(command: &Command) -> Vec<Man> {
    let below = command.get_subcommands().flat_map(pages);
    std::iter::once(Man::new(command.clone()))
        .chain(below)
        .collect()
}

/// What every page ends with.
fn common(of: &str, all: &[String]) -> String {
    let entry = |(what, means): &(&str, &str)| format!(".TP\n\\fB{what}\\fR\n{means}\n");
    let list = |rows: &[(&str, &str)]| rows.iter().map(entry).collect::<String>();
    let others = all.iter().filter(|name| *name != of);
    let others: Vec<_> = others
        .map(|name| {
            format!(
                "\\fB{}\\fR(1)",
                name.trim_end_matches(".1").replace('-', "\\-")
            )
        })
        .collect();
    format!(
        ".SH \"EXIT STATUS\"\n{}.SH ENVIRONMENT\n{}.SH FILES\n{}.SH \"SEE ALSO\"\n{}, \\fBtidegate.yaml\\fR(5), \\fBtidegate\\-policy\\fR(5)\n",
        list(&STATUS),
        list(&ENVIRONMENT),
        list(&FILES),
        others.join(", ")
    )
}

const STATUS: [(&str, &str); 3] = [
    (
        "0",
        "What was asked for is done, or what was asked about is well.",
    ),
    ("1", "It is not; standard error says why."),
    (
        "2",
        "It could not be told, or the command line is not understood.",
    ),
];
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "TIDEGATE_CONFIG",
        "The configuration file, where \\-\\-config does not name one.",
    ),
    (
        "TIDEGATE_LOG",
        "How much the daemon logs: error, warn, info (the default), debug or trace.",
    ),
    (
        "COLUMNS",
        "How wide lists may be, where standard output is no terminal that says.",
    ),
];
const FILES: [(&str, &str); 4] = [
    (
        config::DEFAULT_PATH,
        "The configuration, which names the others.",
    ),
    ("/etc/tidegate/policy.yaml", "What sub-tokens may do."),
    (
        "/var/lib/tidegate/tidegate.db",
        "Issued sub-tokens, by the hashes of their secrets.",
    ),
    (
        "/var/log/tidegate/audit.jsonl",
        "The record: a line of JSON for each request.",
    ),
];
