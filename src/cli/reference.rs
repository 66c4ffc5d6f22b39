//! `help policy` and `help config`: the reference of the two files, as the repository has it, also as man pages of section 5.

use std::ffi::OsString;
use std::fmt::Write;

use super::{Failed, print};

/// The page that all of it stands on.
const PAPER: &str = include_str!("../../config/README.md");

/// A file that has a reference.
pub(super) struct Topic {
    /// What `help` calls it.
    pub name: &'static str,
    /// Its man page, without the section.
    pub page: &'static str,
    about: &'static str,
    /// The headings of its parts.
    parts: &'static [&'static str],
}

/// All of them.
pub(super) const TOPICS: [Topic; 2] = [
    Topic {
        name: "policy",
        page: "tidegate-policy",
        about: "what sub-tokens of tidegate may do",
        parts: &["The policy", "Kinds", "Sub-tokens"],
    },
    Topic {
        name: "config",
        page: "tidegate.yaml",
        about: "the configuration of tidegate",
        parts: &["Configuration"],
    },
];

/// Prints the reference that the arguments ask for, `help TOPIC`; `None` where they ask for something else.
pub(super) fn asked(arguments: &[OsString]) -> Option<Result<(), Failed>> {
    let [help, topic] = arguments else {
        return None;
    };
    let topic = TOPICS.iter().find(|known| topic == known.name);
    let topic = topic.filter(|_| help == "help")?;
    Some(print(topic.text().trim_end()))
}

impl Topic {
    /// The reference as text: the page's own, where links have lost their targets.
    pub fn text(&self) -> String {
        let parts = self.parts.iter().map(|part| section(part));
        let lines: Vec<_> = parts.flat_map(str::lines).map(unlinked).collect();
        lines.join("\n") + "\n"
    }

    /// The reference as a man page.
    pub fn man(&self) -> String {
        let title = self.page.to_uppercase();
        let mut page = format!(
            ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {title} 5 \"\" \"tidegate {}\"\n.SH NAME\n{} \\- {}\n",
            env!("CARGO_PKG_VERSION"),
            escaped(self.page),
            self.about
        );
        let mut form = LineForm::Text;
        for line in self.text().lines() {
            form = add(&mut page, line, form);
        }
        let others = TOPICS.iter().filter(|topic| topic.page != self.page);
        let others = others.map(|topic| format!("\\fB{}\\fR(5), ", escaped(topic.page)));
        let others: String = others.collect();
        let _ = write!(
            page,
            ".SH \"SEE ALSO\"\n{others}\\fBtidegate\\fR(1), \\fBtidegate\\-check\\fR(1), \\fBtidegate\\-schema\\fR(1)\n"
        );
        page
    }
}

/// What stands under a heading of the page, with it, to the next of its height.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let Some((_, rest)) = PAPER.split_once(&heading) else {
        return "";
    };
    let from = PAPER.len() - rest.len() - heading.len() + 1;
    let length = rest.find("\n## ").unwrap_or(rest.len()) + heading.len();
    PAPER.get(from..from + length - 1).unwrap_or_default()
}

/// A line in which `[text](target)` is `text`, and which has no comment.
fn unlinked(line: &str) -> String {
    if line.starts_with("<!--") {
        return String::new();
    }
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, link)) = rest.split_once("](") {
        let opened = before.rfind('[');
        let (Some(opened), Some((_, after))) = (opened, link.split_once(')')) else {
            break;
        };
        let (head, words) = before.split_at(opened);
        text.push_str(head);
        text.push_str(words.get(1..).unwrap_or_default());
        rest = after;
    }
    text + rest
}

/// In what a line of the page stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum LineForm {
    Text,
    Code,
}

/// Adds a line of the page to a man page.
fn add(page: &mut String, line: &str, form: LineForm) -> LineForm {
    let mut put = |text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    if line.starts_with("```") {
        put(if form == LineForm::Text {
            ".PP\n.nf"
        } else {
            ".fi\n.PP"
        });
        return if form == LineForm::Text {
            LineForm::Code
        } else {
            LineForm::Text
        };
    }
    if form == LineForm::Code {
        put(&guarded(&escaped(line)));
        return form;
    }
    if let Some(title) = line.strip_prefix("## ") {
        put(&format!(".SH \"{}\"", escaped(title).to_uppercase()));
    } else if let Some(title) = line.strip_prefix("### ") {
        put(&format!(".SS \"{}\"", escaped(title)));
    } else if let Some(item) = line.strip_prefix("- ") {
        put(&format!(".IP \\(bu 2\n{}", guarded(&marked(item))));
    } else if let Some(row) = line.strip_prefix('|') {
        let row = row.strip_suffix('|').unwrap_or(row);
        let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
        let rules = |cell: &&str| cell.chars().all(|letter| "-:| ".contains(letter));
        if let [first, rest @ ..] = cells.as_slice()
            && !cells.iter().all(rules)
        {
            let rest = rest.iter().map(|cell| marked(cell)).collect::<Vec<_>>();
            put(&format!(
                ".TP\n{}\n{}",
                guarded(&marked(first)),
                guarded(&rest.join("; "))
            ));
        }
    } else if line.is_empty() {
        put(".PP");
    } else {
        put(&guarded(&marked(line.trim_start())));
    }
    form
}

/// A line that no roff takes for a request.
fn guarded(line: &str) -> String {
    match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        Some(_) => line.to_owned(),
        None => "\\&".to_owned(),
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.replace('\'', "\\(aq").replace('`', "\\(ga")
}

/// A line in which what is between backquotes or double stars is bold.
fn marked(line: &str) -> String {
    let line = line.replace("**", "`");
    let parts = line.split('`').enumerate();
    let told = |(at, part): (usize, &str)| match at % 2 {
        0 => escaped(part),
        _ => format!("\\fB{}\\fR", escaped(part)),
    };
    parts.map(told).collect()
}
