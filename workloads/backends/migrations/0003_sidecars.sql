-- What is known of an image beside its file, from the data set that it comes from, as JSON; the pipeline's shape, not searched by.
ALTER TABLE images ADD COLUMN sidecar TEXT;
