//! Transfer syntaxes: what is read, and the names of what is not (PS3.6, annex A).

use super::data_set::Encoding;

/// How the pixels of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Native,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
    /// Known by name, and not read.
    Unsupported,
}

/// One transfer syntax of the standard.
#[derive(Debug)]
pub(crate) struct TransferSyntax {
    pub(crate) uid: &'static str,
    pub(crate) name: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) deflated: bool,
    pub(crate) compression: Compression,
}

const fn native(uid: &'static str, name: &'static str, encoding: Encoding, deflated: bool) -> TransferSyntax {
    TransferSyntax { uid, name, encoding, deflated, compression: Compression::Native }
}

const fn encapsulated(uid: &'static str, name: &'static str, compression: Compression) -> TransferSyntax {
    TransferSyntax { uid, name, encoding: Encoding::EXPLICIT_LITTLE, deflated: false, compression }
}

use Compression::{Jpeg, Jpeg2000, JpegLs, Rle, Unsupported};

static SYNTAXES: [TransferSyntax; 37] = [
    native("1.2.840.10008.1.2", "Implicit VR Little Endian", Encoding::IMPLICIT_LITTLE, false),
    native("1.2.840.10008.1.2.1", "Explicit VR Little Endian", Encoding::EXPLICIT_LITTLE, false),
    native("1.2.840.10008.1.2.2", "Explicit VR Big Endian", Encoding::EXPLICIT_BIG, false),
    native("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", Encoding::EXPLICIT_LITTLE, true),
    encapsulated(
        "1.2.840.10008.1.2.1.98",
        "Encapsulated Uncompressed Explicit VR Little Endian",
        Compression::Native,
    ),
    encapsulated("1.2.840.10008.1.2.5", "RLE Lossless", Rle),
    encapsulated("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)", Jpeg),
    encapsulated("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)", Jpeg),
    encapsulated(
        "1.2.840.10008.1.2.4.53",
        "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)",
        Jpeg,
    ),
    encapsulated(
        "1.2.840.10008.1.2.4.55",
        "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)",
        Jpeg,
    ),
    encapsulated("1.2.840.10008.1.2.4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", Jpeg),
    encapsulated("1.2.840.10008.1.2.4.70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction", Jpeg),
    encapsulated("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", JpegLs),
    encapsulated("1.2.840.10008.1.2.4.81", "JPEG-LS Lossy (Near-Lossless)", JpegLs),
    encapsulated("1.2.840.10008.1.2.4.90", "JPEG 2000 (Lossless Only)", Jpeg2000),
    encapsulated("1.2.840.10008.1.2.4.91", "JPEG 2000", Jpeg2000),
    encapsulated("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", Jpeg2000),
    encapsulated("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component", Jpeg2000),
    encapsulated("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (Lossless Only)", Jpeg2000),
    encapsulated(
        "1.2.840.10008.1.2.4.202",
        "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)",
        Jpeg2000,
    ),
    encapsulated("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Jpeg2000),
    encapsulated("1.2.840.10008.1.2.4.94", "JPIP Referenced", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level video", Unsupported),
    encapsulated(
        "1.2.840.10008.1.2.4.100.1",
        "Fragmentable MPEG2 Main Profile / Main Level video",
        Unsupported,
    ),
    encapsulated("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile / High Level video", Unsupported),
    encapsulated(
        "1.2.840.10008.1.2.4.101.1",
        "Fragmentable MPEG2 Main Profile / High Level video",
        Unsupported,
    ),
    encapsulated("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile for 2D video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile for 3D video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile video", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", Unsupported),
    encapsulated("1.2.840.10008.1.2.4.112", "JPEG XL", Unsupported),
    encapsulated("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression", Unsupported),
];

/// The transfer syntax of a UID; `None` where the standard has none.
pub(crate) fn find(uid: &str) -> Option<&'static TransferSyntax> {
    SYNTAXES.iter().find(|syntax| syntax.uid == uid)
}

/// The uncompressed transfer syntax of an encoding.
pub(crate) fn of_encoding(encoding: Encoding) -> &'static TransferSyntax {
    let [implicit, little, big, ..] = &SYNTAXES;
    match (encoding.explicit_vr, encoding.big_endian) {
        (false, _) => implicit,
        (true, false) => little,
        (true, true) => big,
    }
}
