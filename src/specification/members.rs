use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

/// The members of a JSON document, as a specification has them: `name!,rules[](ports!,sources(tags[]))`.
///
/// A list's name ends in `[]`, a required member's in `!`; what is under a member stands in brackets. `*` is any name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MemberTree(BTreeMap<String, Member>);

/// One of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Member {
    /// Whether it must be given.
    pub required: bool,
    /// What is under it.
    pub under: MemberTree,
}

impl MemberTree {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one, or adds to the one of that name, and returns what is under it. Its name loses what the form is written
    /// with, and the dot, which parts the steps of a way.
    pub fn add(&mut self, name: &str, lists: usize, required: bool) -> &mut MemberTree {
        let name: String = name
            .chars()
            .map(|sign| {
                if SIGNS.contains(&sign) || sign == '.' || sign.is_whitespace() {
                    '_'
                } else {
                    sign
                }
            })
            .collect();
        let member = self
            .0
            .entry(format!("{name}{}", "[]".repeat(lists)))
            .or_default();
        member.required |= required;
        &mut member.under
    }

    /// Adds others, none of them required by this.
    pub(super) fn take_optional(&mut self, others: Self) {
        for (name, other) in others.0 {
            let member = self.0.entry(name).or_default();
            member.under.take_optional(other.under);
        }
    }

    /// Each with its name.
    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.0.iter()
    }

    /// Every member with the way to it, `rules[].sources.tags[]`, and whether it is required there.
    pub fn paths(&self) -> BTreeMap<String, bool> {
        let mut paths = BTreeMap::new();
        self.collect("", &mut paths);
        paths
    }

    /// The ways to those that have nothing under them.
    pub fn leaves(&self) -> Vec<String> {
        let paths = self.paths();
        let has_under = |path: &String| {
            let within = format!("{path}.");
            paths
                .range(within.clone()..)
                .next()
                .is_some_and(|(next, _)| next.starts_with(&within))
        };
        paths
            .keys()
            .filter(|path| !has_under(path))
            .cloned()
            .collect()
    }

    fn collect(&self, before: &str, into: &mut BTreeMap<String, bool>) {
        for (name, member) in &self.0 {
            let path = format!("{before}{name}");
            member.under.collect(&format!("{path}."), into);
            into.insert(path, member.required);
        }
    }

    /// Those whose name fits, and those on the way to them.
    #[must_use]
    pub fn only(&self, fits: fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter_map(|(name, member)| {
            let under = member.under.only(fits);
            let kept = fits(name.trim_end_matches("[]")) || !under.is_empty();
            kept.then(|| {
                (
                    name.clone(),
                    Member {
                        required: false,
                        under,
                    },
                )
            })
        });
        Self(kept.collect())
    }
}

impl fmt::Display for MemberTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, member)) in self.0.iter().enumerate() {
            let (comma, mark) = (
                if index == 0 { "" } else { "," },
                if member.required { "!" } else { "" },
            );
            write!(f, "{comma}{name}{mark}")?;
            if !member.under.is_empty() {
                write!(f, "({})", member.under)?;
            }
        }
        Ok(())
    }
}

/// A text that is no such list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoMembers;

impl FromStr for MemberTree {
    type Err = NoMembers;

    fn from_str(text: &str) -> Result<Self, NoMembers> {
        let mut signs = text.chars().peekable();
        let members = level(&mut signs, 0)?;
        match signs.next() {
            None => Ok(members),
            Some(_) => Err(NoMembers),
        }
    }
}

fn level(signs: &mut Peekable<Chars<'_>>, depth: usize) -> Result<MemberTree, NoMembers> {
    let mut members = BTreeMap::new();
    if depth > DEEPEST {
        return Err(NoMembers);
    }
    loop {
        let mut name = String::new();
        while let Some(sign) = signs.next_if(|sign| !SIGNS.contains(sign)) {
            name.push(sign);
        }
        if name.is_empty() {
            return if members.is_empty() {
                Ok(MemberTree(members))
            } else {
                Err(NoMembers)
            };
        }
        let required = signs.next_if_eq(&'!').is_some();
        let mut under = MemberTree::default();
        if signs.next_if_eq(&'(').is_some() {
            under = level(signs, depth + 1)?;
            signs.next_if_eq(&')').ok_or(NoMembers)?;
        }
        members.insert(name, Member { required, under });
        if signs.next_if_eq(&',').is_none() {
            return Ok(MemberTree(members));
        }
    }
}

/// What the form is written with.
const SIGNS: [char; 4] = [',', '!', '(', ')'];

/// Levels that a document may have.
pub(super) const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_a_list_with_lists_in_brackets() {
        let text = "name!,rules[](ports!,sources(tags[]))";
        let members: MemberTree = text.parse().unwrap();
        assert_eq!(members.to_string(), text);
        let paths: Vec<_> = members.paths().into_iter().collect();
        let expected = [
            ("name", true),
            ("rules[]", false),
            ("rules[].ports", true),
            ("rules[].sources", false),
            ("rules[].sources.tags[]", false),
        ];
        assert_eq!(
            paths,
            expected.map(|(path, required)| (path.to_owned(), required))
        );
        assert_eq!(
            members.leaves(),
            ["name", "rules[].ports", "rules[].sources.tags[]"]
        );
        for wrong in ["a,", "(a)", "a(", "a)", "a(b", "a!!", ",a", "a((b))"] {
            assert_eq!(wrong.parse::<MemberTree>(), Err(NoMembers), "{wrong:?}");
        }
        assert_eq!(
            members.only(|name| name == "tags").to_string(),
            "rules[](sources(tags[]))"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(names in prop::collection::vec(("\\PC{1,6}", 0..2_usize, any::<bool>(), 0..3_usize), 0..20)) {
            let mut members = MemberTree::default();
            for (name, lists, required, depth) in names {
                let mut at = &mut members;
                for _ in 0..depth {
                    at = at.add("under", 0, false);
                }
                at.add(&name, lists, required);
            }
            prop_assert_eq!(members.to_string().parse::<MemberTree>(), Ok(members));
        }

        #[test]
        fn no_text_panics(text in "[a-b,!()\\[\\]]{0,30}") {
            let _ = text.parse::<MemberTree>();
        }
    }
}
