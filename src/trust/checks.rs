use jiff::{SignedDuration, Timestamp};

use super::NotTrusted;
use crate::request::Json;
use crate::token::Moment;

/// By how much clocks may differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// How long ago an identity may have been made out, however long it says that it lasts.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);

/// Holds what a token claims of itself against the audience that it must be meant for and the time. Until when it could be
/// accepted is returned: for so long it must be known that it was taken.
///
/// # Errors
/// `NotTrusted::Claim`.
pub fn accept(claims: &Json, audience: &str, now: Moment) -> Result<Timestamp, NotTrusted> {
    let refuse = |claim, why| Err(NotTrusted::Claim(claim, why));
    if !is_meant_for(claims.member("aud"), audience) {
        return refuse(
            "aud",
            "is not what tidegate is called here; ask its issuer for one with the audience that `issuers` of the configuration names",
        );
    }
    if !matches!(claims.member("jti"), None | Some(Json::Text(_))) {
        return refuse("jti", "is no text");
    }
    let Some(ends) = claims.member("exp").and_then(time) else {
        return refuse(
            "exp",
            "is missing or no number of seconds; an identity without an end is not taken",
        );
    };
    let Some(issued) = claims.member("iat").and_then(time) else {
        return refuse(
            "iat",
            "is missing or no number of seconds; an identity of unknown age is not taken",
        );
    };
    let begins = match claims.member("nbf") {
        None => None,
        Some(written) => match time(written) {
            Some(begins) => Some(begins),
            None => return refuse("nbf", "is no number of seconds"),
        },
    };
    if now.latest.duration_since(ends) >= LEEWAY {
        return refuse("exp", "has passed; ask its issuer for a new one");
    }
    if issued.duration_since(now.clock) > LEEWAY
        || begins.is_some_and(|begins| begins.duration_since(now.clock) > LEEWAY)
    {
        let claim = if issued.duration_since(now.clock) > LEEWAY {
            "iat"
        } else {
            "nbf"
        };
        return refuse(claim, "is yet to come; is a clock wrong?");
    }
    if now.latest.duration_since(issued) > OLDEST {
        return refuse(
            "iat",
            "is more than an hour ago; ask its issuer for a new one",
        );
    }
    let last = ends.min(issued.saturating_add(OLDEST).unwrap_or(ends));
    Ok(last.saturating_add(LEEWAY).unwrap_or(last))
}

fn is_meant_for(claimed: Option<&Json>, audience: &str) -> bool {
    match claimed {
        Some(Json::Text(text)) => text == audience,
        Some(Json::List(items)) => {
            let is_text = |item: &Json| matches!(item, Json::Text(_));
            let is_it = |item: &Json| matches!(item, Json::Text(text) if text == audience);
            items.iter().all(is_text) && items.iter().any(is_it)
        }
        _ => false,
    }
}

/// A number of seconds since 1970, parts of one cut off (RFC 7519 §2, `NumericDate`), in plain digits.
fn time(written: &Json) -> Option<Timestamp> {
    let Json::Number(text) = written else {
        return None;
    };
    let (seconds, parts) = text.split_once('.').unwrap_or((text, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(seconds) || !plain(parts) {
        return None;
    }
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn judged(claims: &str, clock: i64, latest: i64) -> Result<i64, &'static str> {
        let claims = Json::read(claims.as_bytes()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let now = Moment {
            clock: at(clock),
            latest: at(latest),
        };
        match accept(&claims, "tidegate", now) {
            Ok(until) => Ok(until.as_second() - NOW),
            Err(NotTrusted::Claim(claim, _)) => Err(claim),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_identity_is_taken_for_this_audience_and_at_this_time_alone() {
        let (times, aud) = (
            format!("\"iat\":{NOW},\"exp\":{}", NOW + 300),
            "\"aud\":\"tidegate\"",
        );
        let with_aud = |aud: &str| format!("{{\"aud\":{aud},{times}}}");
        let with = |times: &str| format!("{{{aud},{times}}}");
        let at = |name: &str, seconds: i64| format!("\"{name}\":{}", NOW + seconds);
        let both = |iat: i64, exp: i64| with(&format!("{},{}", at("iat", iat), at("exp", exp)));
        let begun = |nbf: &str| with(&format!("{times},\"nbf\":{nbf}"));
        let cases = [
            (with(&times), Ok(360)),
            (with_aud("[\"other\",\"tidegate\"]"), Ok(360)),
            (with_aud("\"tidegate \""), Err("aud")),
            (with_aud("\"Tidegate\""), Err("aud")),
            (with_aud("\"https://tidegate\""), Err("aud")),
            (with_aud("[\"other\"]"), Err("aud")),
            (with_aud("[]"), Err("aud")),
            (with_aud("[\"tidegate\",7]"), Err("aud")),
            (with_aud("{\"tidegate\":true}"), Err("aud")),
            (format!("{{{times}}}"), Err("aud")),
            (both(0, -59), Ok(1)), // a minute's leeway
            (both(0, -60), Err("exp")),
            (both(60, 300), Ok(360)),
            (both(61, 300), Err("iat")),
            (both(-3600, 300), Ok(60)),
            (both(-3601, 300), Err("iat")),
            (with(&at("iat", 0)), Err("exp")),
            (with(&at("exp", 300)), Err("iat")),
            (
                with(&format!("{},\"exp\":\"{}\"", at("iat", 0), NOW + 300)),
                Err("exp"),
            ), // a text
            (with(&format!("{},\"exp\":null", at("iat", 0))), Err("exp")),
            (with(&format!("{},\"exp\":1e12", at("iat", 0))), Err("exp")),
            (
                with(&format!("{},\"exp\":99999999999999999999", at("iat", 0))),
                Err("exp"),
            ),
            (with(&format!("{},\"iat\":-1", at("exp", 300))), Err("iat")),
            (
                with(&format!("{}.9,{}", at("iat", 0), at("exp", 300))),
                Ok(360),
            ),
            (begun(&(NOW + 60).to_string()), Ok(360)),
            (begun(&(NOW + 61).to_string()), Err("nbf")),
            (begun("\"soon\""), Err("nbf")),
            (with(&format!("{times},\"jti\":7")), Err("jti")),
            (with(&format!("{times},\"jti\":\"7\"")), Ok(360)),
        ];
        for (claims, expected) in cases {
            assert_eq!(judged(&claims, NOW, NOW), expected, "claims {claims}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_identity_back() {
        let claims = format!(
            "{{\"aud\":\"tidegate\",\"iat\":{NOW},\"exp\":{}}}",
            NOW + 300
        );
        assert_eq!(judged(&claims, NOW, NOW + 359), Ok(360));
        assert_eq!(judged(&claims, NOW, NOW + 360), Err("exp"));
        assert_eq!(judged(&claims, NOW - 61, NOW), Err("iat")); // and none comes too early
    }
}
