//! Every kind of bad input: one line that says what is wrong, a documented exit code, and nothing lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Data, finish, medindex, picture, run, sample};

#[test]
fn the_command_line_is_checked_before_anything_is_opened() {
    let cases: [(&[&str], &str); 31] = [
        (&["import", ""], "PATH is empty"),
        (&["delete", "--patient", ""], "--patient is empty"),
        (&["status", "--server", "https://127.0.0.1:1"], "HTTPS"),
        (&["status", "--server", "http://127.0.0.1:1/api"], "more than host and port"),
        (&["search", "x.png", "--filter", "modality=CT,,label=x"], "empty condition"),
        (&["search", "x.png", "--filter", ""], "empty"),
        (&["search", "x.png", "-k", "0"], "-k asks for at least 1 result"),
        (&["search", "x.png", "-k", "-1"], "at least 1 result"),
        (&["search", "x.png", "-k", "many"], "not a whole number"),
        (&["search", "x.png", "--probes", "0"], "at least 1 list"),
        (&["search", "x.png", "--frame", "-1"], "frames are counted from 0"),
        (&["search", "x.png", "--roi", "-1,0,5,5"], "x,y,width,height"),
        (&["status", "--max-pixels", "0"], "0 is not in 1.."),
        (&["status", "--max-frames", "5000000000"], "5000000000 is not in 1.."),
        (&["status", "--log", "inof"], "neither a level"),
        (&["status", "--log", "bogus="], "neither a level"),
        (&["repair", "--server", "http://127.0.0.1:1"], "leave out --server"),
        (&["search", "x.png", "--roi", "1,2,3"], "x,y,width,height"),
        (&["search", "x.png", "--roi", "1,2,0,4"], "at least 1 pixel"),
        (&["search", "x.png", "--group-by", "ward"], "study"),
        (
            &["search", "x.png", "--filter", "colour=red"],
            "unknown filter field 'colour'; fields are image_type",
        ),
        (&["search", "x.png", "--filter", "modality"], "no operator"),
        (&["search", "x.png", "--window", "moon"], "moon"),
        (&["search", "x.png", "--window", "40,0"], "has to be at least 1"),
        (&["import", "x.png", "--lesion-window", "40,0"], "has to be at least 1"),
        (&["search"], "IMAGE|ID"),
        (&["delete"], "required"),
        (&["delete", "not-an-id"], "not-an-id"),
        (&["rowkey", "not-an-id"], "not-an-id"),
        (&["rowkey", "01890a5d-ac96-774b-bcce-b302099a8057", "--partitions", "0"], "partitions"),
        (&["dance"], "dance"),
    ];
    for (arguments, words) in cases {
        run(arguments).assert_fails(2, words);
    }
}

#[test]
fn files_that_are_no_usable_images_are_refused_with_the_cause() {
    let data = Data::with_images(2);
    let png = picture(1);
    let mut huge = png.clone();
    // Width and height of the header, with its checksum made to fit.
    huge[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let checksum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut empty_size = png.clone();
    empty_size[16..24].copy_from_slice(&[0; 8]);
    let checksum = crc32(&empty_size[12..29]);
    empty_size[29..33].copy_from_slice(&checksum.to_be_bytes());
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty.png", Vec::new(), "empty"),
        ("truncated.png", png[..png.len() / 2].to_vec(), "truncated.png"),
        ("text.dcm", b"no image at all".to_vec(), "plain text"),
        ("zeros.dcm", vec![0; 5000], "zero bytes"),
        ("huge.png", huge, "100000"),
        ("nothing.png", empty_size, "nothing.png"),
    ];
    for (name, bytes, words) in cases {
        let path = data.scratch(name).display().to_string();
        std::fs::write(&path, bytes).unwrap();
        let imported = data.run(["import", &path, "--json"]);
        assert_eq!(imported.code, Some(4), "{name}: {imported:?}");
        assert_eq!(imported.stderr.lines().count(), 1, "{imported:?}");
        assert!(imported.stderr.contains(words), "{name}: '{words}' in {imported:?}");
        let searched = data.run(["search", &path]);
        assert_eq!(searched.code, Some(4), "{name}: {searched:?}");
        assert_eq!(searched.stderr.lines().count(), 1, "{searched:?}");
    }
    assert_eq!(data.counts()["indexed"], 2, "nothing is lost");
}

#[test]
fn dicom_files_without_usable_pixels_are_refused_with_the_cause() {
    let data = Data::with_images(1);
    for name in ["rtplan.dcm", "no_meta.dcm", "test-SR.dcm"] {
        let outcome = data.run(["import", &sample(name), "--json"]);
        assert_eq!(outcome.code, Some(4), "{name}: {outcome:?}");
        assert!(
            outcome.stderr.starts_with("medindex: ") && outcome.stderr.lines().count() == 1,
            "{outcome:?}"
        );
    }
}

#[test]
fn limits_are_settings_and_what_is_over_them_is_refused() {
    let data = Data::with_images(1);
    let image = data.scratch("images/even/0000.png").display().to_string();
    for limit in ["--max-pixels", "--max-file-bytes"] {
        let words = format!("{limit} raises the limit");
        data.run(["search", &image, limit, "9"]).assert_fails(4, &words);
        data.run(["recognise", &image, limit, "9"]).assert_fails(4, &words);
    }
    let mut command = data.command(["search", &image]);
    finish(command.env("MEDINDEX_MAX_DECODED_BYTES", "9")).assert_fails(4, "--max-decoded-bytes");
    let many = sample("examples_ybr_color.dcm");
    data.run(["search", &many, "--max-frames", "9"]).assert_fails(4, "30 frames");
    let imported = data.run(["import", &many, "--max-frames", "9"]);
    assert_eq!(imported.code, Some(4), "{imported:?}");
    assert!(imported.stderr.contains("--max-frames raises the limit"), "{imported:?}");
    assert_eq!(data.run(["search", &image, "--max-pixels", "2304"]).code, Some(0));
}

#[test]
fn a_wrong_extension_is_no_obstacle() {
    let data = Data::new();
    let path = data.scratch("picture.dcm");
    std::fs::write(&path, picture(5)).unwrap();
    assert_eq!(data.run(["import", "--json", &path.display().to_string()]).json()["stored"], 1);
}

#[test]
fn a_region_outside_the_image_is_refused() {
    let data = Data::with_images(2);
    let example = data.scratch("images/even/0000.png").display().to_string();
    data.run(["search", &example, "--roi", "40,40,20,20"]).assert_fails(4, "48");
    data.run(["search", &example, "--frame", "7"]).assert_fails(4, "7");
}

#[test]
fn what_is_not_there_is_not_found() {
    let data = Data::with_images(1);
    data.run(["search", "/nowhere/x.png"]).assert_fails(3, "/nowhere/x.png");
    data.run(["import", "/nowhere"]).assert_fails(3, "/nowhere");
    data.run(["import", "/nowhere/*.dcm"]).assert_fails(3, "/nowhere/*.dcm");
    data.run(["search", "01890a5d-ac96-774b-bcce-b302099a8057"]).assert_fails(3, "01890a5d");
    data.run(["delete", "01890a5d-ac96-774b-bcce-b302099a8057"]).assert_fails(3, "01890a5d");
    let missing = data.scratch("no-data").display().to_string();
    run(["status", "--data", &missing]).assert_fails(3, "import images first");
    let empty = Data::new();
    run(["import", "x.png", "--data", &empty.path().display().to_string(), "--model", "no-such-model"])
        .assert_fails(3, "x.png");
    let image = data.scratch("images/even/0000.png").display().to_string();
    let folder = empty.path().display().to_string();
    run(["import", &image, "--data", &folder, "--model", "no-such-model"]).assert_fails(3, "no-such-model");
}

#[test]
fn a_runtime_library_that_is_not_there_is_not_found() {
    let data = Data::new();
    let images = data.images(1);
    let mut command = data.command(["import", &images]);
    command.env("MEDINDEX_ONNXRUNTIME", "/nowhere/libonnxruntime.so");
    finish(&mut command).assert_fails(3, "MEDINDEX_ONNXRUNTIME");
}

#[test]
fn too_many_results_are_refused() {
    let data = Data::with_images(1);
    let example = data.scratch("images/even/0000.png").display().to_string();
    data.run(["search", &example, "-k", "1000000"]).assert_fails(4, "1000000");
}

#[test]
fn too_few_images_are_not_trained_on() {
    let data = Data::with_images(2);
    let outcome = data.run(["train"]);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("too few"), "{outcome:?}");
    data.run(["rollback"]).assert_fails(4, "no earlier generation");
}

#[test]
fn a_folder_that_may_not_be_read_is_named() {
    let data = Data::new();
    let folder = data.images(2);
    let secret = data.scratch("images/even");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = if std::fs::read_dir(&secret).is_ok() {
        // Root reads everything; become nobody for this run, in folders that nobody may use.
        let home = data.scratch("home");
        std::fs::create_dir(&home).unwrap();
        for path in [data.scratch("."), home.clone(), data.scratch("images"), data.scratch("images/odd")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(copy_of_binary(&data)).args(["import", &format!("{folder}/even")]).current_dir(&home);
        finish(&mut command)
    } else {
        data.run(["import", &format!("{folder}/even")])
    };
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o700)).unwrap();
    outcome.assert_fails(4, "Permission denied; check the path and its permissions");
}

#[test]
fn a_path_below_a_file_is_named_as_what_cannot_be_read() {
    let data = Data::with_images(1);
    let below = data.scratch("images/even/0000.png/x.png").display().to_string();
    data.run(["search", &below]).assert_fails(4, "Not a directory");
}

/// The binary where anybody may run it: its own folder may be closed to others.
fn copy_of_binary(data: &Data) -> std::path::PathBuf {
    let copy = data.scratch("medindex-copy");
    std::fs::copy(env!("CARGO_BIN_EXE_medindex"), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let outcome = finish(medindex().args(["status", "--server", "http://127.0.0.1:1"]));
    outcome.assert_fails(7, "http://127.0.0.1:1");
    let began = std::time::Instant::now();
    let samples = common::samples().display().to_string();
    run(["import", &samples, "--server", "http://127.0.0.1:1"]).assert_fails(7, "http://127.0.0.1:1");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "it is not asked again for a minute");
    run(["status", "--server", "ftp://example"]).assert_fails(2, "ftp://example");
}

/// CRC-32 as PNG chunks have it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    };
    !bytes.iter().fold(!0, step)
}
