//! Of a token that reports: what its roles alone would have said to an answer, which its ceiling lets through.

use super::final_line::FinalLine;
use super::narrowed::with_body;
use super::question::Question;
use crate::catalog::TouchVerb;
use crate::facts::Reader;
use crate::json::Document;
use crate::policy::{Shown, shows};
use crate::refusal::Refusal;
use crate::resource::Touch;
use crate::response::{Answer, Cutting};

impl Question<'_> {
    /// Notes whether the roles alone would have hidden the resource that an answer shows; the answer stays as it is. By `place`,
    /// a grant of the ceiling, it is shown then. What can't be judged is not told: the roles would have answered that the API's answer can't be read, and that is no refusal.
    pub(super) async fn reported(
        &self,
        answer: Answer,
        place: &str,
        touches: &[Touch],
        reader: &Reader<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let Some(alone) = self.grantee.grants.alone.as_deref() else {
            return Ok(answer);
        };
        let Some(endpoint) = self.asked.endpoint.filter(|_| answer.status().is_success()) else {
            return Ok(answer);
        };
        let (head, body) = answer.into_parts();
        let body = self.read_to_cut(body).await?;
        let catalog = &self.serving.rules.catalog;
        let judged = |touch: &&Touch| touch.is_deferred() && touch.verb != TouchVerb::List;
        for touch in touches.iter().filter(judged) {
            let state = async {
                let showing = self.showing(endpoint, touch)?;
                let document = Document::read(&body).map_err(|_| Refusal::hidden())?;
                let shown = Cutting::new(&document).at(showing.rule.answer.as_ref());
                let shown = shown.ok_or_else(Refusal::hidden)?;
                let attributes = Self::attributes(&showing, &Self::told_of(&showing, shown)?)?;
                self.state_of(&showing, attributes, reader).await
            };
            let Ok(state) = state.await else { continue };
            if shows(alone, &self.asked, touch, &state, catalog) == Shown::Hidden {
                line.would(&Refusal::hidden());
                line.record.reason = Some(place.into());
            }
        }
        Ok(with_body(head, body))
    }
}
