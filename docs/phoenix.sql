-- SQL over the images that MedIndex has stored in HBase: a schema for the index's namespace, and a view of its table of images.
-- docs/phoenix.md says how to run it. For an index of another name, write its namespace in the place of "medindex".
CREATE SCHEMA IF NOT EXISTS "medindex";

-- Phoenix 5.2.1 never ends when it is to create a view that is already there, with IF NOT EXISTS too. Dropping one leaves every row.
DROP VIEW IF EXISTS "medindex"."image_info";

CREATE VIEW "medindex"."image_info" (
    "row" VARCHAR PRIMARY KEY,
    "MI"."id" VARCHAR,
    "MI"."type" VARCHAR,
    "MI"."modality" VARCHAR,
    "MI"."body_part" VARCHAR,
    "MI"."label" VARCHAR,
    "MI"."organisation" VARCHAR,
    "MI"."name" VARCHAR,
    "MI"."format" VARCHAR,
    "MI"."received" UNSIGNED_DATE,
    "MI"."generation" UNSIGNED_LONG,
    "MI"."meta" VARCHAR,
    "MD"."length" UNSIGNED_LONG
);
