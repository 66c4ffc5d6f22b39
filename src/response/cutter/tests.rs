use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A plan that cuts paths, and nulls those that end in `!`.
fn plan(paths: &[&str]) -> Plan {
    let mut plan = Plan {
        places: vec![PlanPlace::default()],
    };
    for path in paths {
        let (path, fate) = match path.strip_suffix('!') {
            Some(path) => (path, Fate::Null),
            None => (*path, Fate::Cut),
        };
        let mut at = 0;
        let keys: Vec<_> = path.split('.').collect();
        for (index, key) in keys.iter().enumerate() {
            let last = index + 1 == keys.len();
            let next = plan.places.len();
            let members = &mut plan.places[at].members;
            let found = members.iter().position(|member| member.key == *key);
            let place = found.unwrap_or_else(|| {
                members.push(PlanMember {
                    key: (*key).to_owned(),
                    fate: Fate::Keep,
                    below: None,
                });
                members.len() - 1
            });
            if last {
                members[place].fate = fate;
            } else if let Some(below) = members[place].below {
                at = below;
            } else {
                members[place].below = Some(next);
                at = next;
                plan.places.push(PlanPlace::default());
            }
        }
    }
    plan
}

fn nobody() -> Judge<'static> {
    Box::new(|_, _| Judged::Null)
}

fn cut_in(pieces: &[&[u8]], plan: Plan) -> Result<String, UnreadableAnswer> {
    let mut cutter = Cutter::new(plan, nobody());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&cutter.push(&Bytes::copy_from_slice(piece))?);
    }
    out.extend_from_slice(&cutter.finish()?);
    Ok(String::from_utf8(out).unwrap())
}

fn cut(text: &str, paths: &[&str]) -> Result<String, UnreadableAnswer> {
    cut_in(&[text.as_bytes()], plan(paths))
}

const CASES: [(&str, &str, &str); 19] = [
    (r#"{"a":1,"b":2,"c":3}"#, "a", r#"{"b":2,"c":3}"#),
    (r#"{"a":1,"b":2,"c":3}"#, "b", r#"{"a":1,"c":3}"#),
    (r#"{"a":1,"b":2,"c":3}"#, "c", r#"{"a":1,"b":2}"#),
    (r#"{"a":1}"#, "a", "{}"),
    (r#"{ "a" : 1 , "b" : 2 }"#, "a", r#"{  "b" : 2 }"#), // the spaces about it stay
    (r#"{"a":{"x":"}\"]"},"b":[]}"#, "a", r#"{"b":[]}"#),
    (r#"{"a":1,"b":2,"a":3}"#, "a", r#"{"b":2}"#), // the same key twice
    (r#"{"\u0061":1,"b":2}"#, "a", r#"{"b":2}"#),  // the same key in another spelling
    (r#"{"A":1}"#, "a", r#"{"A":1}"#),             // another key
    (r#"{"a\\":1}"#, "a", r#"{"a\\":1}"#),
    (
        r#"{"l":[{"a":1,"b":2},{"a":{}},3,[{"a":4}]]}"#,
        "l.a",
        r#"{"l":[{"b":2},{},3,[{}]]}"#,
    ),
    (r#"{"l":{"a":1}}"#, "l.a", r#"{"l":{}}"#), // one where many are expected
    (r#"{"l":"a"}"#, "l.a", r#"{"l":"a"}"#),
    (
        r#"{"x":123456789012345678901234567890,"y":"\u00e9\/","z":1.50,"a":0}"#,
        "a",
        r#"{"x":123456789012345678901234567890,"y":"\u00e9\/","z":1.50}"#,
    ),
    (r#"{"d":{"a":1},"e":2}"#, "d!", r#"{"d":null,"e":2}"#),
    (r#"{"d":null}"#, "d!", r#"{"d":null}"#),
    (r#"[{"a":1}]"#, "a", "[{}]"),
    ("3", "a", "3"),
    (r#"{"b":{"a":1},"a":{"b":1}}"#, "a", r#"{"b":{"a":1}}"#), // elsewhere it is another
];

#[test]
fn members_go_and_the_rest_stays_as_it_came() {
    for (text, path, expected) in CASES {
        assert_eq!(cut(text, &[path]).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn it_does_not_matter_how_a_document_is_cut_up() {
    for (text, path, expected) in CASES {
        for first in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(first);
            let cut = cut_in(&[head, tail], plan(&[path]));
            assert_eq!(cut.as_deref(), Ok(expected), "{text} at {first}");
        }
        let single: Vec<_> = text.as_bytes().chunks(1).collect();
        let cut = cut_in(&single, plan(&[path]));
        assert_eq!(cut.as_deref(), Ok(expected), "{text} byte by byte");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let deep = "[".repeat(1000);
    let cases = [
        "",
        "{",
        r#"{"a"}"#,
        r#"{"a":1"#,
        r#"{"a":1]"#,
        r#"{"b":[}]}"#,
        r#"{"a":1}}"#,
        r#"{"a":1} {"a":2}"#,
        r"{'a':1}",
        r#"{"a":1,}x"#,
        r"{a:1}",
        r#"{"a" 1}"#,
        r#"{"b":1 "a":2}"#,
        "<html>",
        r#"{"b":"#,
        r#"{"b":"x"#,
        "\u{feff}{}",
        &deep,
    ];
    for text in cases {
        assert_eq!(cut(text, &["a"]), Err(UnreadableAnswer), "{text:?}");
    }
}

#[test]
fn what_is_judged_is_judged_whole_and_by_itself() {
    let text = r#"{"l":[{"id":1,"a":1},{"id":2,"a":2,"l":[{"id":1,"a":3}]}, {"id":3}]}"#;
    let judged = || {
        let mut plan = plan(&["l.x"]);
        plan.places[1].judged = Some(7);
        plan
    };
    for size in 1..=text.len() {
        let judge: Judge = Box::new(|number, bytes| {
            assert_eq!(number, 7);
            let item: Value = serde_json::from_slice(bytes).unwrap();
            match item["id"].as_u64() {
                Some(1) => Judged::Cut(plan(&["a"])),
                Some(2) => {
                    let mut plan = plan(&["l.x"]);
                    plan.places[1].judged = Some(7);
                    Judged::Cut(plan)
                }
                _ => Judged::Null,
            }
        });
        let mut cutter = Cutter::new(judged(), judge);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend_from_slice(&cutter.push(&Bytes::copy_from_slice(piece)).unwrap());
        }
        cutter.finish().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"l":[{"id":1},{"id":2,"a":2,"l":[{"id":1}]}, null]}"#,
            "in pieces of {size}"
        );
    }
}

fn naive(value: &mut Value, path: &[&str], null: bool) {
    match value {
        Value::Array(items) => {
            for item in items {
                naive(item, path, null);
            }
        }
        Value::Object(members) => match path {
            [last] if null => {
                if let Some(member) = members.get_mut(*last) {
                    *member = Value::Null;
                }
            }
            [last] => {
                members.shift_remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(member) = members.get_mut(*first) {
                    naive(member, rest, null);
                }
            }
            [] => {}
        },
        _ => {}
    }
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ab\"\\\\{}\\[\\],:é]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        let key = prop_oneof![Just("a"), Just("b"), Just("c"), Just("a\"b"), Just("é")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_obvious_way(
        document in document(),
        pretty: bool,
        size in 1_usize..40,
        paths in prop::collection::vec(prop::sample::select(vec!["a", "b", "a.b", "b.a", "a.b.c", "c.a", "c!", "a.a!"]), 1..4),
    ) {
        // What is null holds nothing more to cut, and what is cut neither.
        let clash = paths.iter().any(|one| paths.iter().any(|other| {
            one != other && other.trim_end_matches('!').starts_with(one.trim_end_matches('!'))
        }));
        prop_assume!(!clash);
        let text = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        let cut = cut_in(&pieces, plan(&paths)).unwrap();
        let mut expected = document.clone();
        for path in &paths {
            let keys: Vec<_> = path.trim_end_matches('!').split('.').collect();
            naive(&mut expected, &keys, path.ends_with('!'));
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&cut).unwrap(), expected);
        prop_assert_eq!(cut_in(&[cut.as_bytes()], plan(&paths)).unwrap(), cut.clone(), "twice is as once");
        if !paths.iter().any(|path| path.ends_with('!')) {
            prop_assert!(is_part(cut.as_bytes(), text.as_bytes()), "it only removes");
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\a1 u0".to_vec()), 0..80), size in 1_usize..20) {
        let pieces: Vec<_> = bytes.chunks(size).collect();
        let _ = cut_in(&pieces, plan(&["a", "1.a"]));
    }
}

fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}
