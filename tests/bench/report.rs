//! The table that a benchmark prints, and whether its bounds were kept.

use std::process::ExitCode;
use std::time::Duration;

/// Rows as they are measured.
pub struct Report {
    rows: Vec<[String; 5]>,
    broken: Vec<String>,
}

impl Report {
    /// A table with two columns of figures.
    pub fn new(columns: [&str; 2]) -> Self {
        let [one, other] = columns.map(str::to_owned);
        Self {
            rows: vec![[String::new(), one, other, "bound".to_owned(), String::new()]],
            broken: Vec::new(),
        }
    }

    /// Adds a row; `met` is whether its bound was kept, where it has one.
    pub fn row(&mut self, what: &str, [one, other]: [String; 2], bound: &str, met: Option<bool>) {
        let word = match met {
            Some(true) => "kept",
            Some(false) => "BROKEN",
            None => "",
        };
        if met == Some(false) {
            self.broken.push(format!("{what}: {other}; {bound}"));
        }
        let row = [
            what.to_owned(),
            one,
            other,
            bound.to_owned(),
            word.to_owned(),
        ];
        println!("measured: {}", row.join(" | "));
        self.rows.push(row);
    }

    /// Prints the table, as Markdown, and what was broken; and whether nothing was.
    pub fn print(self) -> bool {
        println!();
        for (number, row) in self.rows.iter().enumerate() {
            println!("| {} |", row.join(" | "));
            if number == 0 {
                println!("|---|--:|--:|---|---|");
            }
        }
        for line in &self.broken {
            println!("\nbroken: {line}");
        }
        self.broken.is_empty()
    }
}

/// How a benchmark ends: as a failure where a bound was broken.
pub fn exit(kept: bool) -> ExitCode {
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

pub fn micros(seconds: f64) -> String {
    format!("{:.0} µs", seconds * 1e6)
}

/// In millions.
pub fn bytes(count: u64) -> String {
    format!("{} MB", count / 1_000_000)
}
