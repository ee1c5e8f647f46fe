use medindex_imaging::*;
fn main() {
    for a in std::env::args().skip(1) {
        let b = std::fs::read(&a).unwrap();
        match decode(&b, &Limits::default(), FrameSelection::Middle) {
            Ok(d) => {
                let f = &d.frames[0];
                if let Pixels::Grey(s) = f.pixels() {
                    let v = s.to_f64();
                    println!(
                        "{a} {:?} min {:?} max {:?}",
                        &v[..16],
                        v.iter().cloned().fold(f64::MAX, f64::min),
                        v.iter().cloned().fold(f64::MIN, f64::max)
                    );
                }
                println!("{:?}", d.info);
            }
            Err(e) => println!("{a} {e}"),
        }
    }
}
