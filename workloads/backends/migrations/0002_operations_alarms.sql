-- Whose images an operation was about, and the trace that it belongs to.
ALTER TABLE operations ADD COLUMN organisation VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN trace_id VARCHAR(255) NOT NULL DEFAULT '';
CREATE INDEX operations_action ON operations (action, at_ms);

-- When somebody said last that an alarm's cause is there: one that nobody sees any more is over.
ALTER TABLE alarms ADD COLUMN seen_at_ms BIGINT NOT NULL DEFAULT 0;
