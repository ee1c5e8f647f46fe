-- The catalog's tables. One text serves SQLite and MySQL: no AUTO_INCREMENT, no partial indexes, no dialect's own
-- upserts, booleans or times. Times are milliseconds since 1970 UTC; ids and digests are lower-case text. On MySQL
-- the database is made with COLLATE utf8mb4_bin, so that text compares as it does in SQLite.

CREATE TABLE images (
    id CHAR(36) NOT NULL PRIMARY KEY,
    organisation VARCHAR(255) NOT NULL,
    row_key CHAR(49) NOT NULL,
    sha256 CHAR(64) NOT NULL,
    md5 CHAR(32) NOT NULL,
    name TEXT NOT NULL,
    label VARCHAR(255),
    content_type VARCHAR(255) NOT NULL,
    format VARCHAR(255) NOT NULL,
    bytes BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    reason TEXT,
    image_type VARCHAR(255),
    modality VARCHAR(255),
    body_part VARCHAR(255),
    study_uid VARCHAR(255),
    series_uid VARCHAR(255),
    instance_uid VARCHAR(255),
    patient_id VARCHAR(255),
    study_date VARCHAR(255),
    acquired_ms BIGINT,
    width BIGINT,
    height BIGINT,
    frames BIGINT,
    transfer_syntax VARCHAR(255),
    received_at_ms BIGINT NOT NULL,
    indexed_at_ms BIGINT,
    generation BIGINT NOT NULL
);

-- The same bytes are in an organisation once.
CREATE UNIQUE INDEX images_content ON images (organisation, sha256);
CREATE INDEX images_received ON images (received_at_ms, id);
CREATE INDEX images_status ON images (status, received_at_ms, id);
-- These three answer lists and, with status at their end, counts without reading the records.
CREATE INDEX images_modality ON images (modality, received_at_ms, status);
CREATE INDEX images_label ON images (label, received_at_ms, status);
CREATE INDEX images_image_type ON images (image_type, received_at_ms, status);
CREATE INDEX images_body_part ON images (body_part, received_at_ms);
CREATE INDEX images_organisation ON images (organisation, received_at_ms);
CREATE INDEX images_patient ON images (patient_id, received_at_ms);
CREATE INDEX images_study ON images (study_uid, received_at_ms);

-- Audit log. Ids are UUIDs of version 7, made by the writer, so that writing twice changes nothing.
CREATE TABLE operations (
    id CHAR(36) NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor VARCHAR(255) NOT NULL,
    action VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    outcome VARCHAR(255) NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX operations_at ON operations (at_ms, id);
CREATE INDEX operations_actor ON operations (actor, at_ms);
CREATE INDEX operations_subject ON operations (subject, at_ms);

-- open_key is the kind and subject while an alarm is open, and NULL once it is cleared: unique among open alarms
-- without a partial index, because NULLs never equal each other.
CREATE TABLE alarms (
    id CHAR(36) NOT NULL PRIMARY KEY,
    kind VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    raised_at_ms BIGINT NOT NULL,
    cleared_at_ms BIGINT,
    detail TEXT NOT NULL,
    open_key VARCHAR(520)
);

CREATE UNIQUE INDEX alarms_open ON alarms (open_key);
CREATE INDEX alarms_raised ON alarms (raised_at_ms, id);

CREATE TABLE settings (
    setting_key VARCHAR(255) NOT NULL PRIMARY KEY,
    setting_value TEXT NOT NULL
);
