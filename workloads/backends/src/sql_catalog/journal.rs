//! Writes to the operation log, the alarms and the settings.

use async_trait::async_trait;
use medindex_proto::ImageId;
use sqlx::AnyConnection;

use super::faults::is_unique_violation;
use super::writer::{Write, WriteError};
use crate::catalog::{Operation, Result};

const INSERT_OPERATION: &str = "INSERT INTO operations \
     (id, at_ms, actor, action, subject, outcome, detail, organisation, trace_id) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

const INSERT_ALARM: &str = "INSERT INTO alarms (id, kind, subject, raised_at_ms, seen_at_ms, detail, open_key) \
     VALUES (?, ?, ?, ?, ?, ?, ?)";

// A report that was on its way for long takes nothing back.
const UPDATE_ALARM: &str =
    "UPDATE alarms SET detail = ?, seen_at_ms = ? WHERE open_key = ? AND seen_at_ms <= ?";

const CLEAR_ALARM: &str =
    "UPDATE alarms SET cleared_at_ms = ?, open_key = NULL WHERE open_key = ? AND seen_at_ms < ?";

const UPDATE_SETTING: &str = "UPDATE settings SET setting_value = ? WHERE setting_key = ?";

const INSERT_SETTING: &str = "INSERT INTO settings (setting_key, setting_value) VALUES (?, ?)";

/// See [`crate::Catalog::append_operations`].
pub(super) struct AppendOperations(pub(super) Vec<Operation>);

#[async_trait]
impl Write for AppendOperations {
    type Output = ();
    const WHAT: &'static str = "operations";

    async fn run(&self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        for operation in &self.0 {
            let outcome = sqlx::query(INSERT_OPERATION)
                .bind(operation.id.to_string())
                .bind(operation.at_ms)
                .bind(&operation.actor)
                .bind(&operation.action)
                .bind(&operation.subject)
                .bind(&operation.outcome)
                .bind(&operation.detail)
                .bind(&operation.organisation)
                .bind(&operation.trace_id)
                .execute(&mut *connection)
                .await;
            match outcome {
                Err(error) if !is_unique_violation(&error) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What an open alarm is known by: the kind has no line break.
fn open_key(kind: &str, subject: &str) -> String {
    format!("{kind}\n{subject}")
}

/// See [`crate::Catalog::raise_alarm`].
pub(super) struct RaiseAlarm {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) detail: String,
    pub(super) at_ms: i64,
}

#[async_trait]
impl Write for RaiseAlarm {
    type Output = bool;
    const WHAT: &'static str = "an alarm";

    async fn run(&self, connection: &mut AnyConnection) -> Result<bool, WriteError> {
        let key = open_key(&self.kind, &self.subject);
        let outcome = sqlx::query(INSERT_ALARM)
            .bind(ImageId::new().to_string())
            .bind(&self.kind)
            .bind(&self.subject)
            .bind(self.at_ms)
            .bind(self.at_ms)
            .bind(&self.detail)
            .bind(&key)
            .execute(&mut *connection)
            .await;
        match outcome {
            Ok(_) => Ok(true),
            Err(error) if is_unique_violation(&error) => {
                let update = sqlx::query(UPDATE_ALARM).bind(&self.detail).bind(self.at_ms);
                update.bind(&key).bind(self.at_ms).execute(connection).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// See [`crate::Catalog::clear_alarm`].
pub(super) struct ClearAlarm {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) at_ms: i64,
    pub(super) unseen_since_ms: i64,
}

#[async_trait]
impl Write for ClearAlarm {
    type Output = bool;
    const WHAT: &'static str = "a cleared alarm";

    async fn run(&self, connection: &mut AnyConnection) -> Result<bool, WriteError> {
        let key = open_key(&self.kind, &self.subject);
        let query = sqlx::query(CLEAR_ALARM).bind(self.at_ms).bind(key).bind(self.unseen_since_ms);
        Ok(query.execute(connection).await?.rows_affected() > 0)
    }
}

/// See [`crate::Catalog::put_setting`].
pub(super) struct PutSetting {
    pub(super) key: String,
    pub(super) value: String,
}

#[async_trait]
impl Write for PutSetting {
    type Output = ();
    const WHAT: &'static str = "a setting";

    async fn run(&self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        let insert = sqlx::query(INSERT_SETTING).bind(&self.key).bind(&self.value);
        match insert.execute(&mut *connection).await {
            Err(error) if is_unique_violation(&error) => {
                let update = sqlx::query(UPDATE_SETTING).bind(&self.value).bind(&self.key);
                update.execute(connection).await?;
                Ok(())
            }
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}
