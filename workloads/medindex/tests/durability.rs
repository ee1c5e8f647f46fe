//! What survives: kill -9 while importing and while snapshotting, two processes, a full disk, damaged folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::server::Server;
use common::{Data, MODEL, finish, picture, run, signal};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use serde_json::Value;

#[test]
fn an_import_that_is_killed_again_and_again_ends_with_every_file_once() {
    const IMAGES: usize = 150;
    let data = Data::new();
    let folder = data.images(IMAGES);
    let mut random = Pcg64::seed_from_u64(11);
    for _ in 0..6 {
        let mut import = data.command(["import", "--label-from-folder", &folder]).spawn().unwrap();
        // The moment of the kill is what is tested; it is not waiting for anything.
        std::thread::sleep(Duration::from_millis(random.random_range(150..1200)));
        import.kill().unwrap();
        import.wait().unwrap();
    }
    let summary = data.run(["import", "--label-from-folder", "--json", &folder]).json();
    let sum = summary["stored"].as_u64().unwrap() + summary["duplicates"].as_u64().unwrap();
    assert_eq!(sum, IMAGES as u64, "{summary}");
    assert_eq!(data.counts(), serde_json::json!({"received": 0, "indexed": IMAGES, "failed": 0}));
    let example = data.scratch("images/even/0000.png").display().to_string();
    let answer = data.run(["search", &example, "-k", "500", "--json"]).json();
    let mut names: Vec<&str> =
        answer["results"].as_array().unwrap().iter().map(|hit| hit["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let found = names.len();
    names.dedup();
    assert_eq!((found, names.len()), (IMAGES, IMAGES), "each file exactly once");
}

#[test]
fn what_a_server_acknowledged_is_there_after_kill_9() {
    let data = Data::with_images(1);
    let mut random = Pcg64::seed_from_u64(12);
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4_usize {
        let server = Server::start(&data);
        let began = Instant::now();
        let window = Duration::from_millis(random.random_range(100..700));
        let enough = acknowledged.len() + 4;
        let mut number = 1000 * (round + 1);
        while began.elapsed() < window || acknowledged.len() < enough {
            assert!(began.elapsed() < Duration::from_mins(1), "round {round}: only {acknowledged:?}");
            number += 1;
            if let Some(id) = upload(&server.url(), number) {
                acknowledged.push(id);
            }
        }
        server.kill();
    }
    assert!(acknowledged.len() > 10, "{acknowledged:?}");
    let server = Server::start(&data);
    for id in &acknowledged {
        wait_until_indexed(&server.url(), id);
    }
    assert_eq!(server.stop(), Some(0));
    assert_eq!(data.counts()["indexed"], acknowledged.len() + 1);
}

fn upload(url: &str, number: usize) -> Option<String> {
    use ureq::unversioned::multipart::{Form, Part};
    let bytes = picture(number);
    let form = Form::new().part("file", Part::bytes(&bytes).file_name("picture.png"));
    let mut answer = ureq::post(format!("{url}/api/v1/images")).send(form).ok()?;
    let accepted: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
    Some(accepted["id"].as_str()?.to_owned())
}

fn wait_until_indexed(url: &str, id: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut answer = ureq::get(format!("{url}/api/v1/images/{id}")).call().unwrap();
        let details: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        match details["status"].as_str().unwrap() {
            "indexed" => return,
            "received" if Instant::now() < deadline => std::thread::yield_now(),
            other => panic!("{id} is {other}: {details}"),
        }
    }
}

#[test]
fn a_kill_during_the_last_snapshot_leaves_a_readable_folder() {
    let data = Data::with_images(40);
    let mut random = Pcg64::seed_from_u64(13);
    let mut stored = 40;
    for round in 0..8_usize {
        let server = Server::start(&data);
        let id = upload(&server.url(), 5000 + round).unwrap();
        wait_until_indexed(&server.url(), &id);
        stored += 1;
        // SIGTERM begins the shutdown, which ends with a snapshot; the kill falls into it or beside it.
        signal(server.process(), "TERM");
        std::thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
        server.kill();
        assert_eq!(data.counts()["indexed"], stored, "round {round}");
    }
}

#[test]
fn ctrl_c_keeps_what_was_accepted_and_the_next_import_goes_on() {
    const IMAGES: usize = 400;
    let data = Data::new();
    let folder = data.images(IMAGES);
    let import = data.command(["import", "--json", &folder]).spawn().unwrap();
    wait_for(&data.path().join("medindex.json"));
    std::thread::sleep(Duration::from_millis(300));
    signal(import.id(), "INT");
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["interrupted"], true, "{summary}");
    let (stored, waiting) = (summary["stored"].as_u64().unwrap(), summary["waiting"].as_u64().unwrap());
    assert!(stored + waiting < IMAGES as u64, "it did not wait for the end: {summary}");
    let counts = data.counts();
    let kept = counts["indexed"].as_u64().unwrap() + counts["received"].as_u64().unwrap();
    assert!(kept >= stored + waiting, "what was accepted is kept: {counts} after {summary}");
    let rest = data.run(["import", "--json", &folder]).json();
    let (more, before) = (rest["stored"].as_u64().unwrap(), rest["duplicates"].as_u64().unwrap());
    assert_eq!(more + before, IMAGES as u64, "{rest}");
    assert!(before >= stored, "{rest} after {summary}");
    assert_eq!(data.counts()["indexed"], IMAGES);
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_second_process_is_told_which_server_has_the_folder() {
    let data = Data::with_images(1);
    let server = Server::start(&data);
    data.run(["status"]).assert_fails(5, &format!("--server {}", server.url()));
    assert_eq!(server.stop(), Some(0));
    assert_eq!(data.counts()["indexed"], 1);
}

#[test]
fn a_damaged_store_is_an_error_and_stays_as_it_is() {
    let data = Data::with_images(3);
    for (file, damage) in [("medindex.json", "{\"format\":1"), ("command-line.json", "nonsense")] {
        let path = data.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, damage).unwrap();
        run(["status", "--data", &data.path().display().to_string()]).assert_fails(6, file);
        std::fs::write(&path, whole).unwrap();
    }
    let store = largest_file(&data.path());
    let whole = std::fs::read(&store).unwrap();
    std::fs::write(&store, &whole[..whole.len() / 3]).unwrap();
    let outcome = data.run(["status"]);
    assert_eq!(outcome.code, Some(6), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    std::fs::write(&store, whole).unwrap();
    assert_eq!(data.counts()["indexed"], 3, "the folder was left as it was");
}

/// The key-value store: the largest file at the top of a data folder.
fn largest_file(folder: &Path) -> std::path::PathBuf {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    files.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().into_path()
}

#[test]
fn a_lost_index_is_rebuilt_from_the_store() {
    let data = Data::with_images(6);
    std::fs::remove_dir_all(data.path().join("index")).unwrap();
    let example = data.scratch("images/even/0000.png").display().to_string();
    assert_eq!(data.ids(&example).len(), 6);
}

#[test]
fn a_model_that_was_changed_is_refused() {
    let data = Data::new();
    let model = data.scratch("changed-model");
    let cache = common::samples().parent().unwrap().parent().unwrap().join("models").join(MODEL);
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(cache).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
        }
    }
    let graph = std::fs::read_dir(&model).unwrap().map(|entry| entry.unwrap().path());
    let graph = graph.into_iter().find(|path| path.extension().is_some_and(|end| end == "onnx")).unwrap();
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    let image = data.scratch("x.png");
    std::fs::write(&image, picture(0)).unwrap();
    let (data_folder, model) = (data.path().display().to_string(), model.display().to_string());
    run(["import", &image.display().to_string(), "--data", &data_folder, "--model", &model])
        .assert_fails(4, "expected SHA-256");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let data = Data::new();
    let small = SmallDisk::new(&data, 24);
    let folder = data.images(3);
    let path = small.path.join("data").display().to_string();
    let import = |what: &str| {
        let mut command = small.command();
        command.args(["import", "--json", what, "--data", &path, "--model", MODEL]);
        finish(&mut command)
    };
    assert_eq!(import(&folder).json()["stored"], 3);
    // Noise does not compress: 40 images of 1 MiB cannot fit.
    let noise = data.scratch("noise");
    std::fs::create_dir(&noise).unwrap();
    let mut random = Pcg64::seed_from_u64(14);
    for number in 0..40 {
        let pixels = (0..1024 * 1024).map(|_| random.random()).collect();
        let image = medindex_imaging::Rendered::new(1024, 1024, medindex_imaging::Channels::Grey, pixels);
        std::fs::write(noise.join(format!("{number}.png")), image.unwrap().to_png(1024).unwrap()).unwrap();
    }
    let outcome = import(&noise.display().to_string());
    assert_eq!(outcome.code, Some(6), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    // Again while it is still full: what waits cannot be embedded, which is told instead of being waited for.
    let began = Instant::now();
    let again = import(&folder);
    assert!(began.elapsed() < Duration::from_mins(1), "{again:?}");
    assert!(matches!(again.code, Some(0 | 6)), "{again:?}");
    assert!(again.stderr.lines().count() <= 1, "{again:?}");
    small.grow();
    let after = run(["status", "--json", "--data", &path]).json();
    assert!(after["images"]["indexed"].as_u64().unwrap() >= 3, "{after}");
    let again = finish(common::medindex().args(["import", "--json", &folder, "--data", &path])).json();
    assert_eq!(again["duplicates"], 3, "{again}");
}

#[test]
fn what_a_server_acknowledges_after_a_full_disk_is_kept() {
    let data = Data::new();
    let small = SmallDisk::new(&data, 32);
    let folder = small.path.join("data").display().to_string();
    let command = |arguments: &[&str]| {
        let mut command = small.command();
        command.args(arguments).args(["--data", &folder, "--model", MODEL]);
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    let stored = finish(&mut command(&["import", "--json", &data.images(30)])).json();
    assert_eq!(stored["stored"], 30, "{stored}");
    let server = Server::start_command(&mut command(&["serve", "--port", "0", "--json"]));
    let url = server.url();
    let page = ureq::get(format!("{url}/api/v1/images?limit=10")).call().unwrap().body_mut().read_to_string();
    let page: Value = serde_json::from_str(&page.unwrap()).unwrap();
    let ids: Vec<&str> =
        page["images"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    small.fill();
    // Every kind of write, until none is taken any more, and further.
    let (mut refused, mut acknowledged, mut number) = (0, Vec::new(), 1000);
    while refused < 8 {
        number += 1;
        assert!(number < 3000, "the disk is never full");
        match upload(&url, number) {
            Some(id) => acknowledged.push(id),
            None => refused += 1,
        }
    }
    let mut deleted = Vec::new();
    for id in ids.iter().take(6) {
        if ureq::delete(format!("{url}/api/v1/images/{id}")).call().is_ok() {
            deleted.push(*id);
        }
    }
    small.free(&server);
    for number in 5000..5004 {
        acknowledged.push(upload(&url, number).expect("there is space again"));
    }
    for id in &acknowledged {
        wait_until_indexed(&url, id);
    }
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_command(&mut command(&["serve", "--port", "0", "--json"]));
    for id in &acknowledged {
        wait_until_indexed(&server.url(), id);
    }
    for id in deleted {
        assert!(ureq::get(format!("{}/api/v1/images/{id}", server.url())).call().is_err(), "{id} came back");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_server_that_is_stopped_while_it_starts_says_so() {
    let data = Data::with_images(1);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = data.command(["serve", "--port", &port.to_string()]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "it never listened");
    }
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.stdout.is_empty() {
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_eq!(told, "medindex: stopped before the server was ready; no image was touched\n");
    } else {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(told.contains("stopping"), "{output:?}");
    }
}

/// A disk of a few MiB where this user may mount one, else a limit on the size of files.
struct SmallDisk {
    path: std::path::PathBuf,
    mounted: bool,
    mebibytes: usize,
}

impl SmallDisk {
    fn new(data: &Data, mebibytes: usize) -> Self {
        let path = data.scratch("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path)
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        Self { path, mounted, mebibytes }
    }

    /// The binary under the limit.
    fn command(&self) -> std::process::Command {
        if self.mounted {
            return common::medindex();
        }
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", self.mebibytes * 1024);
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_medindex")]);
        command
    }

    /// Fills what is left of a mounted disk; a limit on files is reached by writing to them.
    fn fill(&self) {
        if self.mounted {
            let mut ballast = std::fs::File::create(self.path.join("ballast")).unwrap();
            while std::io::Write::write_all(&mut ballast, &[7; 4096]).is_ok() {}
        }
    }

    /// Gives a running server the room back.
    fn free(&self, server: &Server) {
        if self.mounted {
            std::fs::remove_file(self.path.join("ballast")).unwrap();
            return;
        }
        let process = server.process().to_string();
        let lifted =
            std::process::Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited"]).status();
        assert!(lifted.unwrap().success());
    }

    /// Gives it room.
    fn grow(&self) {
        if self.mounted {
            let grown = std::process::Command::new("mount")
                .args(["-o", "remount,size=512m"])
                .arg(&self.path)
                .status();
            assert!(grown.unwrap().success());
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = std::process::Command::new("umount").arg(&self.path).status();
        }
    }
}
