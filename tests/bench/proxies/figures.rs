//! What was measured, and the tables of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cases::{Ask, CASES, Case, LIST, Promise, READ};
use super::lanes::Ran;

/// What one round came to.
#[derive(Clone, Copy)]
pub struct Figures {
    /// Processor time of the proxy for each request, in seconds.
    pub cost: f64,
    /// Requests a second.
    pub rate: f64,
    /// What half of them took at most, in seconds.
    pub half: f64,
    /// What all but one in a hundred took at most, in seconds.
    pub most: f64,
}

impl Figures {
    pub fn of(ran: &Ran, spent: Duration) -> Self {
        Self {
            cost: spent.as_secs_f64() / ran.count(),
            rate: ran.count() / ran.took.as_secs_f64(),
            half: ran.quantile(0.5),
            most: ran.quantile(0.99),
        }
    }
}

/// The rounds of each case and proxy.
#[derive(Default)]
pub struct Table(BTreeMap<(&'static str, &'static str), Vec<Figures>>);

impl Table {
    pub fn add(&mut self, case: &Case, proxy: &'static str, figures: Figures) {
        self.0.entry((case.what, proxy)).or_default().push(figures);
    }

    fn median(&self, what: &'static str, proxy: &'static str) -> Option<Figures> {
        let rounds = self.0.get(&(what, proxy))?;
        let of = |part: fn(&Figures) -> f64| middle(rounds.iter().map(part).collect());
        Some(Figures {
            cost: of(|figures| figures.cost),
            rate: of(|figures| figures.rate),
            half: of(|figures| figures.half),
            most: of(|figures| figures.most),
        })
    }

    /// The costs of a case, and whether what is promised of them was kept.
    pub fn line(&self, case: &Case, names: &[&'static str]) -> String {
        let costs = names.iter().map(|name| {
            self.median(case.what, name).map_or_else(
                || "–".to_owned(),
                |figures| format!("{:.1}", figures.cost * 1e6),
            )
        });
        let (told, _) = self.judged(case);
        format!(
            "{} | {} | {told}",
            case.what,
            costs.collect::<Vec<_>>().join(" | ")
        )
    }

    /// What a case takes as a multiple of nginx's, or of what nginx takes for the like where it can't do that.
    fn multiple(&self, case: &Case, name: &'static str) -> String {
        let like = match case.ask {
            Ask::List | Ask::Filtered => LIST,
            Ask::Small | Ask::Refused | Ask::Write => READ,
        };
        let nginx = self.median(case.what, "nginx");
        let nginx = nginx.or_else(|| self.median(like, "nginx"));
        let cost = self.median(case.what, name).zip(nginx);
        cost.map_or_else(
            || "–".to_owned(),
            |(figures, nginx)| format!("{:.2}", figures.cost / nginx.cost),
        )
    }

    /// What is promised of a case, and whether it was kept; nothing where nothing is promised or it was not measured.
    fn judged(&self, case: &Case) -> (String, bool) {
        let cost = |what, proxy| self.median(what, proxy).map(|figures| figures.cost);
        let own = cost(case.what, "tidegate");
        let judged = match case.promise {
            Promise::None => None,
            Promise::Nginx(most) | Promise::OfNginx(_, most) => {
                cost(case_name(case), "nginx").zip(own).map(|(other, own)| {
                    let ratio = own / other;
                    (format!("{ratio:.2} × nginx; at most {most}"), ratio <= most)
                })
            }
            Promise::Own(other, most) => cost(other, "tidegate").zip(own).map(|(other, own)| {
                let ratio = own / other;
                (
                    format!("{ratio:.2} × {}; at most {most}", case_name(case)),
                    ratio <= most,
                )
            }),
            Promise::More(other, most) => cost(other, "tidegate").zip(own).map(|(other, own)| {
                let more = (own - other) * 1e3;
                (format!("{more:.2} ms more; at most {most}"), more <= most)
            }),
        };
        match judged {
            None => (String::new(), true),
            Some((told, true)) => (format!("{told}: kept"), true),
            Some((told, false)) => (format!("{told}: BROKEN"), false),
        }
    }

    /// Prints the tables, as Markdown; whether every promise was kept.
    pub fn print(&self, names: &[&'static str]) -> bool {
        println!("\nProcessor time of the proxy for each request, in microseconds:\n");
        header(names, " promise |");
        let measured = || {
            CASES
                .iter()
                .filter(|case| self.0.contains_key(&(case.what, "tidegate")))
        };
        for case in measured() {
            println!("| {} |", self.line(case, names));
        }
        println!(
            "\nRequests a second, and what half and 99 of a hundred took at most, in milliseconds:\n"
        );
        header(names, "");
        for case in measured() {
            let cells = names.iter().map(|name| {
                self.median(case.what, name).map_or_else(
                    || "–".to_owned(),
                    |Figures {
                         rate, half, most, ..
                     }| {
                        format!("{rate:.0}, {:.2}, {:.2}", half * 1e3, most * 1e3)
                    },
                )
            });
            println!(
                "| {} | {} |",
                case.what,
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
        println!("\nAs multiples of what nginx takes:\n");
        header(names, "");
        for case in measured() {
            let cells = names.iter().map(|name| self.multiple(case, name));
            println!(
                "| {} | {} |",
                case.what,
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
        let mut kept = measured().all(|case| self.judged(case).1);
        let sixteen = |name| self.median(CASES[1].what, name).map(|figures| figures.most);
        if let Some((own, other)) = sixteen("tidegate").zip(sixteen("nginx")) {
            let met = own <= other;
            let word = if met { "kept" } else { "BROKEN" };
            println!(
                "\n99 of a hundred reads at 16 connections: {:.2} × nginx; at most 1: {word}",
                own / other
            );
            kept &= met;
        }
        kept
    }
}

fn case_name(case: &Case) -> &'static str {
    match case.promise {
        Promise::OfNginx(other, _) | Promise::Own(other, _) | Promise::More(other, _) => other,
        Promise::None | Promise::Nginx(_) => case.what,
    }
}

fn header(names: &[&str], last: &str) {
    println!("| | {} |{last}", names.join(" | "));
    println!(
        "|---|{}{}",
        "--:|".repeat(names.len()),
        if last.is_empty() { "" } else { "---|" }
    );
}

/// Prints memory, in megabytes.
pub fn memory(names: &[&'static str], rows: &[(&str, Vec<u64>)]) {
    println!("\nMemory of all processes of each, in megabytes:\n");
    header(names, "");
    for (what, counts) in rows {
        let cells: Vec<_> = counts
            .iter()
            .map(|count| format!("{:.1}", mega(*count)))
            .collect();
        println!("| {what} | {} |", cells.join(" | "));
    }
}

/// Prints what is promised of memory, and whether it was kept.
pub fn bound(what: &str, bytes: u64, most: f64) -> bool {
    let (has, kept) = (mega(bytes), mega(bytes) <= most);
    let word = if kept { "kept" } else { "BROKEN" };
    println!("{what}: {has:.1} MB; at most {most}: {word}");
    kept
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
pub fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
