use super::endpoint::{Method, Segment, Template};
use crate::table::Table;

/// Finds the endpoint of a path by walking its segments once.
///
/// A fixed segment wins over a parameter, for good: `DELETE /v2/projects/default` is not `DELETE /v2/projects/{project_id}`
/// with an id of `default`. Coming back to try the parameter would read one path in two ways.
#[derive(Debug, Default)]
pub struct PathMatcher {
    nodes: Vec<Branch>,
}

#[derive(Debug, Default)]
struct Branch {
    fixed: Table<String, usize>,
    parameter: Option<usize>,
    endpoints: Vec<(Method, usize)>,
}

/// Two endpoints with the same method and path.
#[derive(Debug)]
pub struct Taken;

impl PathMatcher {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            nodes: vec![Branch::default()],
        }
    }

    /// Adds an endpoint under its number.
    ///
    /// # Errors
    /// `Taken` if another endpoint has the same method and path, whatever its parameters are called.
    pub fn insert(
        &mut self,
        method: Method,
        template: &Template,
        number: usize,
    ) -> Result<(), Taken> {
        let mut here = 0;
        for segment in &template.segments {
            here = self.step_or_grow(here, segment);
        }
        let Some(branch) = self.nodes.get_mut(here) else {
            return Err(Taken);
        };
        if branch.endpoints.iter().any(|(known, _)| *known == method) {
            return Err(Taken);
        }
        branch.endpoints.push((method, number));
        Ok(())
    }

    fn step_or_grow(&mut self, here: usize, segment: &Segment) -> usize {
        let next = self.nodes.len();
        let Some(branch) = self.nodes.get_mut(here) else {
            return here;
        };
        let found = match segment {
            Segment::Fixed(text) => *branch.fixed.entry(text.clone()).or_insert(next),
            Segment::Parameter { .. } => *branch.parameter.get_or_insert(next),
        };
        if found == next {
            self.nodes.push(Branch::default());
        }
        found
    }

    /// The number of the endpoint with this method and these decoded segments.
    pub fn find<'s>(
        &self,
        method: Method,
        segments: impl Iterator<Item = &'s str>,
    ) -> Option<usize> {
        let mut branch = self.nodes.first()?;
        for segment in segments {
            let next = branch.fixed.get(segment).copied().or(branch.parameter)?;
            branch = self.nodes.get(next)?;
        }
        branch
            .endpoints
            .iter()
            .find(|(known, _)| *known == method)
            .map(|(_, number)| *number)
    }
}
