//! Globs, as policies have them: `*` is any characters, `?` any one.

/// A part of a glob.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// This character.
    Character(char),
    /// Any one character.
    One,
    /// Any number of characters.
    Many,
}

/// Matches in time proportional to the product of the lengths, whatever the pattern: on a mismatch only the last `*` that was
/// passed takes one character more.
pub fn glob_matches(pieces: &[Piece], text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let (mut piece, mut letter) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while letter < letters.len() {
        match pieces.get(piece) {
            Some(Piece::Many) => {
                back = Some((piece, letter));
                piece += 1;
                continue;
            }
            Some(Piece::One) => {
                piece += 1;
                letter += 1;
                continue;
            }
            Some(Piece::Character(wanted)) if letters.get(letter) == Some(wanted) => {
                piece += 1;
                letter += 1;
                continue;
            }
            Some(Piece::Character(_)) | None => {}
        }
        let Some((many, taken)) = back else {
            return false;
        };
        back = Some((many, taken + 1));
        piece = many + 1;
        letter = taken + 1;
    }
    pieces
        .get(piece..)
        .unwrap_or_default()
        .iter()
        .all(|rest| *rest == Piece::Many)
}
