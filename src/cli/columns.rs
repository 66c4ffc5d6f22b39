use std::io::{self, IsTerminal};

use super::{Failed, print_table, say};

/// A column of a list that must stay within a terminal's width.
#[derive(Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    gives: Gives,
}

/// What a column gives where there is too little room.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Gives {
    /// The ends of its cells.
    Ends,
    /// The time of day.
    Hours,
    /// Nothing: half of it says nothing.
    Nothing,
}

impl Column {
    /// A text, which is cut.
    pub(super) const fn text(title: &'static str) -> Self {
        let gives = Gives::Ends;
        Self { title, gives }
    }

    /// A time as `2027-01-31 00:00`, which is brought down to its day.
    pub(super) const fn time(title: &'static str) -> Self {
        let gives = Gives::Hours;
        Self { title, gives }
    }

    /// What must stay whole.
    pub(super) const fn whole(title: &'static str) -> Self {
        let gives = Gives::Nothing;
        Self { title, gives }
    }
}

/// Prints a list: whole to a file or pipe, and within its width to a terminal.
pub(super) fn print(columns: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failed> {
    let (table, left_out) = fitted(columns, rows, width());
    if !left_out.is_empty() {
        say(format!(
            "left out for want of room: {}; `--json` has all",
            left_out.join(", ")
        ));
    }
    print_table(&table)
}

/// How wide a line may be: `COLUMNS`, or what the terminal has; anything else is as wide as it must be.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok();
    if let Some(columns) = told.and_then(|text| text.parse().ok()) {
        return columns;
    }
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return usize::MAX;
    }
    let size = rustix::termios::tcgetwinsize(stdout).ok();
    size.map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(USUAL)
}

/// What a terminal has that does not say.
const USUAL: usize = 80;
/// The fewest characters that a text is cut to.
const LEAST: usize = 8;
/// The characters of a day, `2027-01-31`.
const DAY: usize = 10;
const GAP: usize = 2;

/// The table with its titles, and the titles of the columns that had to stay out.
fn fitted(
    columns: &[Column],
    rows: Vec<Vec<String>>,
    width: usize,
) -> (Vec<Vec<String>>, Vec<&'static str>) {
    let mut columns = columns.to_vec();
    let titles = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    let mut table = [vec![titles], rows].concat();
    let mut left_out = Vec::new();
    if total(&table) > width {
        drop_silent(&mut columns, &mut table);
        for (index, column) in columns.iter().enumerate() {
            if column.gives == Gives::Hours {
                cut(&mut table, index, DAY, "");
            }
        }
    }
    while total(&table) > width {
        let over = total(&table) - width;
        let widest = (0..columns.len())
            .filter(|index| {
                columns
                    .get(*index)
                    .is_some_and(|column| column.gives == Gives::Ends)
            })
            .map(|index| (widest(&table, index), index))
            .filter(|(wide, _)| *wide > LEAST)
            .max();
        match widest {
            Some((wide, index)) => cut(
                &mut table,
                index,
                wide.saturating_sub(over.min(4)).max(LEAST),
                "…",
            ),
            None if columns.len() > 2 => {
                left_out.extend(columns.pop().map(|column| column.title));
                for row in &mut table {
                    row.pop();
                }
            }
            None => break,
        }
    }
    left_out.reverse();
    (table, left_out)
}

/// Takes out the columns in which no row says anything.
fn drop_silent(columns: &mut Vec<Column>, table: &mut [Vec<String>]) {
    for index in (0..columns.len()).rev() {
        let mut cells = table.iter().skip(1).filter_map(|row| row.get(index));
        if cells.all(|cell| cell == "-" || cell == "anywhere") {
            columns.remove(index);
            for row in table.iter_mut().filter(|row| row.len() > index) {
                row.remove(index);
            }
        }
    }
}

fn total(table: &[Vec<String>]) -> usize {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let cells: usize = (0..columns).map(|index| widest(table, index)).sum();
    cells + GAP * columns.saturating_sub(1)
}

fn widest(table: &[Vec<String>], index: usize) -> usize {
    let cells = table.iter().filter_map(|row| row.get(index));
    cells
        .map(|cell| cell.chars().count())
        .max()
        .unwrap_or_default()
}

/// Cuts the cells of a column, but its title, to so many characters.
fn cut(table: &mut [Vec<String>], index: usize, most: usize, sign: &str) {
    for cell in table
        .iter_mut()
        .skip(1)
        .filter_map(|row| row.get_mut(index))
    {
        if cell.chars().count() > most {
            let kept = most - sign.chars().count();
            *cell = cell.chars().take(kept).collect::<String>() + sign;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("NAME"),
        Column::whole("ID"),
        Column::time("EXPIRES"),
        Column::text("FROM"),
    ];

    fn lines(rows: &[[&str; 4]], width: usize) -> (Vec<String>, Vec<&'static str>) {
        let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec());
        let (table, left_out) = fitted(&COLUMNS, rows.collect(), width);
        (table.iter().map(|row| row.join("|")).collect(), left_out)
    }

    #[test]
    fn a_list_gives_what_says_least_first() {
        let row = [
            "nightly-backup",
            "4fZ0aB9cD8eF",
            "2027-01-31 00:00",
            "203.0.113.0/24,unix",
        ];
        let cases = [
            (
                usize::MAX,
                "nightly-backup|4fZ0aB9cD8eF|2027-01-31 00:00|203.0.113.0/24,unix",
                &[][..],
            ),
            (
                67,
                "nightly-backup|4fZ0aB9cD8eF|2027-01-31 00:00|203.0.113.0/24,unix",
                &[],
            ),
            (
                61,
                "nightly-backup|4fZ0aB9cD8eF|2027-01-31|203.0.113.0/24,unix",
                &[],
            ),
            (50, "nightly-ba…|4fZ0aB9cD8eF|2027-01-31|203.0.113.…", &[]),
            (40, "nightly…|4fZ0aB9cD8eF|2027-01-31", &["FROM"]),
        ];
        for (width, expected, missing) in cases {
            let (told, left_out) = lines(&[row], width);
            assert_eq!(told[1], expected, "width {width}");
            assert_eq!(left_out, missing, "width {width}");
        }
        let silent = ["a-name-that-is-long", "4fZ0aB9cD8eF", "-", "anywhere"];
        let (told, left_out) = lines(&[silent], 36);
        assert_eq!(told, ["NAME|ID", "a-name-that-is-long|4fZ0aB9cD8eF"]);
        assert!(left_out.is_empty(), "they say nothing: {left_out:?}");
    }
}
