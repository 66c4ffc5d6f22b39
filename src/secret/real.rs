/// Why a text is no real token. The text itself is never told.
pub fn no_real_token(text: &str) -> Option<&'static str> {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (prefix, secret) = text.split_once("_v1_").unwrap_or_default();
    Some(if text.is_empty() {
        "it is empty; put the token there"
    } else if text.starts_with('\u{feff}') {
        "it begins with a byte order mark (BOM); save it without one"
    } else if text.starts_with(['"', '\'']) {
        "it stands in quotes; there must be the token and nothing else"
    } else if text.contains('=') || text.starts_with("Bearer ") {
        "there is something before it (a name and `=`, or `Bearer`); there must be the token and nothing else"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "it has characters that no token has; there must be the token and nothing else"
    } else if prefix == "tdg" {
        "it is a sub-token; the real one, from DigitalOcean, belongs there"
    } else if prefix.starts_with("do")
        && prefix.len() == 3
        && !(secret.len() == 64 && hexadecimal(secret))
    {
        "it is not whole: after `_v1_` a real token has 64 hexadecimal digits; copy it again"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_told_by_what_it_is_instead() {
        let whole = format!("dop_v1_{}", "0a".repeat(32));
        let cases = [
            (whole.clone(), None),
            ("0a".repeat(32), None), // as DigitalOcean gave them before 2022
            (String::new(), Some("it is empty")),
            (format!("\u{feff}{whole}"), Some("byte order mark")),
            (format!("\"{whole}\""), Some("in quotes")),
            (format!("'{whole}'"), Some("in quotes")),
            (format!("DIGITALOCEAN_TOKEN={whole}"), Some("before it")),
            (format!("Bearer {whole}"), Some("before it")),
            (
                format!("{whole} # mine"),
                Some("characters that no token has"),
            ),
            (whole.replace("0a0a0a", ""), Some("not whole")),
            (format!("{whole}0"), Some("not whole")),
            (whole.replace('a', "x"), Some("not whole")),
            ("tdg_v1_abc".to_owned(), Some("a sub-token")),
        ];
        for (text, expected) in cases {
            let told = no_real_token(&text);
            match expected {
                None => assert_eq!(told, None, "text {text:?}"),
                Some(part) => assert!(told.unwrap().contains(part), "text {text:?}: {told:?}"),
            }
        }
    }
}
