use zeroize::Zeroizing;

/// What a form or a query holds: names and values, in their order.
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

/// A text is no form: an escape that is none, or what is not UTF-8.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct NoForm;

impl Form {
    /// Reads `a=1&b=2`, as `application/x-www-form-urlencoded` has it.
    ///
    /// # Errors
    /// `NoForm`.
    pub fn read(text: &str) -> Result<Self, NoForm> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?.to_string(), decoded(value)?))
        };
        pairs.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The first value of that name, without what is around it; nothing where that is empty.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of that name which are not empty.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        let texts = named.map(|(_, value)| value.trim());
        texts.filter(|text| !text.is_empty())
    }
}

fn decoded(text: &str) -> Result<Zeroizing<String>, NoForm> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or(NoForm)?, digit().ok_or(NoForm)?);
                u8::try_from(high << 4 | low).map_err(|_| NoForm)?
            }
            other => other,
        };
        bytes.push(byte);
    }
    let text = str::from_utf8(&bytes).map_err(|_| NoForm)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A text as a query may hold it.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = Form::read("a=1&b=x+y%20z&a=2&c=&d&e=%C3%A9%26&f=+s+")
            .map_err(|_| ())
            .unwrap();
        let all = |name: &str| form.all(name).collect::<Vec<_>>();
        assert_eq!(all("a"), ["1", "2"]);
        assert_eq!(all("b"), ["x y z"]);
        assert_eq!(all("e"), ["é&"]);
        assert_eq!(all("f"), ["s"]);
        assert_eq!(
            (form.one("c"), form.one("d"), form.one("g")),
            (None, None, None)
        );
        for broken in ["a=%", "a=%2", "a=%zz", "a=%FF", "%FF=a"] {
            assert!(Form::read(broken).is_err(), "{broken}");
        }
        let text = "a b&=é/";
        assert_eq!(
            decoded(&encoded(text)).map(|text| text.to_string()),
            Ok(text.to_owned())
        );
    }
}
