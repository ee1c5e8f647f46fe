//! What is recorded: actions, outcomes, and the events they make.

use medindex_backends::catalog::{MAX_LONG_TEXT, MAX_SHORT_TEXT};
use medindex_proto::identity::ImageId;
use medindex_proto::messages::OperationEvent;

use crate::core::{Core, now_ms};
use crate::trace::current_trace_id;

/// Something that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// An image was uploaded.
    Upload,
    /// Many files were imported.
    Import,
    /// An image was searched for.
    Search,
    /// An image was recognised.
    Recognise,
    /// A file was handed out.
    Download,
    /// An image was deleted.
    Delete,
    /// The images of a patient were deleted.
    DeletePatient,
    /// An image could not be made searchable.
    Fail,
    /// Images were sent again that got stuck.
    Resend,
    /// A generation was trained.
    Train,
    /// A generation was published.
    Publish,
    /// A shard answers with another generation.
    Activate,
    /// The generation before was made the active one again.
    RollBack,
    /// An alarm was raised.
    RaiseAlarm,
    /// An alarm was cleared.
    ClearAlarm,
    /// A program began.
    Start,
    /// A program ended in order.
    Stop,
}

/// An action and its name.
#[derive(Debug, Clone, Copy)]
pub struct ActionDescription {
    /// The action.
    pub action: Action,
    /// Its name in the log.
    pub name: &'static str,
}

/// All actions, with their names.
pub const ACTIONS: [ActionDescription; 17] = {
    const fn named(action: Action, name: &'static str) -> ActionDescription {
        ActionDescription { action, name }
    }
    [
        named(Action::Upload, "image.upload"),
        named(Action::Import, "index.import"),
        named(Action::Search, "image.search"),
        named(Action::Recognise, "image.recognise"),
        named(Action::Download, "image.download"),
        named(Action::Delete, "image.delete"),
        named(Action::DeletePatient, "patient.delete"),
        named(Action::Fail, "image.fail"),
        named(Action::Resend, "image.resend"),
        named(Action::Train, "generation.train"),
        named(Action::Publish, "generation.publish"),
        named(Action::Activate, "generation.activate"),
        named(Action::RollBack, "generation.rollback"),
        named(Action::RaiseAlarm, "alarm.raise"),
        named(Action::ClearAlarm, "alarm.clear"),
        named(Action::Start, "program.start"),
        named(Action::Stop, "program.stop"),
    ]
};

impl Action {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        // Every action is in the table; a test holds that.
        ACTIONS.iter().find(|description| description.action == self).map_or("unknown", |found| found.name)
    }

    /// Whether a part of the system does it by itself.
    fn is_of_the_system(self) -> bool {
        use Action::{Activate, ClearAlarm, Fail, Publish, RaiseAlarm, Resend, Start, Stop};
        matches!(self, Fail | Resend | Publish | Activate | RaiseAlarm | ClearAlarm | Start | Stop)
    }
}

/// How actions end.
pub(crate) mod outcome {
    pub(crate) const ACCEPTED: &str = "accepted";
    pub(crate) const DUPLICATE: &str = "duplicate";
    pub(crate) const REFUSED: &str = "refused";
    pub(crate) const FAILED: &str = "failed";
    pub(crate) const ANSWERED: &str = "answered";
    pub(crate) const PARTIAL: &str = "partial";
    pub(crate) const CACHED: &str = "cached";
    pub(crate) const DELETED: &str = "deleted";
    pub(crate) const DONE: &str = "done";

    /// All of them.
    pub(crate) const ALL: [&str; 9] =
        [ACCEPTED, DUPLICATE, REFUSED, FAILED, ANSWERED, PARTIAL, CACHED, DELETED, DONE];
}

/// An event on its way into the log.
pub(crate) struct Event(OperationEvent);

impl Event {
    /// What is done now, by whoever this process works for; `subject` is what it is done to.
    pub(crate) fn new(core: &Core, action: Action, subject: impl AsRef<str>, outcome: &str) -> Self {
        let settings = &core.settings;
        let actor = if action.is_of_the_system() { &settings.process } else { &settings.user };
        Self(OperationEvent {
            event_id: ImageId::new().to_string(),
            at_ms: now_ms(),
            actor: cut(actor, MAX_SHORT_TEXT),
            action: action.name().to_owned(),
            subject: cut(subject.as_ref(), MAX_SHORT_TEXT),
            outcome: outcome.to_owned(),
            organisation: cut(&settings.organisation, MAX_SHORT_TEXT),
            trace_id: current_trace_id().unwrap_or_default(),
            ..OperationEvent::default()
        })
    }

    /// Adds what is for people.
    pub(crate) fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.0.detail = cut(detail.as_ref(), MAX_LONG_TEXT);
        self
    }

    /// What happens once however often it is tried is known by what it happens to: an image is deleted once.
    pub(crate) fn known_by(mut self, id: &ImageId) -> Self {
        self.0.event_id = id.to_string();
        self
    }

    pub(crate) fn into_message(self) -> OperationEvent {
        self.0
    }
}

/// A name that somebody chose may be longer than its column: the log keeps its beginning.
fn cut(text: &str, characters: usize) -> String {
    if text.len() <= characters {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(characters).collect();
    if kept.len() < text.len() {
        kept.pop();
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own_and_the_documents_tell_it() {
        let names: HashSet<&str> = ACTIONS.iter().map(|description| description.name).collect();
        assert_eq!(names.len(), ACTIONS.len());
        let document = include_str!("../../../../docs/operation-log-and-alarms.md");
        for ActionDescription { action, name } in ACTIONS {
            assert_eq!(action.name(), name);
            assert!(document.contains(&format!("| `{name}` |")), "{name} is not in the document");
        }
        // The last variant's number is the number of the others.
        assert_eq!(Action::Stop as usize + 1, ACTIONS.len());
    }

    #[test]
    fn long_texts_are_cut_with_a_mark_between_characters() {
        assert_eq!(cut("größe", 255), "größe");
        assert_eq!(cut(&"ö".repeat(255), 255), "ö".repeat(255));
        let cut = cut(&"ö".repeat(256), 255);
        assert_eq!((cut.chars().count(), cut.chars().last()), (255, Some('…')));
    }
}
