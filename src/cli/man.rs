use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::{Failed, Outcome, print};

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
    for page in pages(&command) {
        let path = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)?;
        fs::write(&path, text).map_err(|error| unusable(&path, error))?;
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
