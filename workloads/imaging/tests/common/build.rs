//! Small files made by hand: DICOM data sets, NIfTI volumes and archives of zeros.

/// A DICOM file in Explicit VR Little Endian, element by element.
pub(crate) struct DicomFile {
    transfer_syntax: String,
    body: Vec<u8>,
}

impl DicomFile {
    /// A grey image of `columns` x `rows` with one frame of `bits` bits, and no pixel data yet.
    pub(crate) fn grey(columns: u16, rows: u16, bits: u16) -> Self {
        Self::empty()
            .text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.7")
            .text(0x0008_0060, "CS", "OT")
            .number(0x0028_0002, 1)
            .text(0x0028_0004, "CS", "MONOCHROME2")
            .number(0x0028_0010, rows)
            .number(0x0028_0011, columns)
            .number(0x0028_0100, bits)
            .number(0x0028_0101, bits)
            .number(0x0028_0102, bits - 1)
            .number(0x0028_0103, 0)
    }

    pub(crate) fn empty() -> Self {
        Self { transfer_syntax: "1.2.840.10008.1.2.1".to_owned(), body: Vec::new() }
    }

    pub(crate) fn transfer_syntax(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.transfer_syntax);
        self
    }

    pub(crate) fn element(mut self, tag: u32, vr: &str, value: &[u8]) -> Self {
        self.body.extend(element(tag, vr, value));
        self
    }

    pub(crate) fn text(self, tag: u32, vr: &str, value: &str) -> Self {
        self.element(tag, vr, value.as_bytes())
    }

    pub(crate) fn number(self, tag: u32, value: u16) -> Self {
        self.element(tag, "US", &value.to_le_bytes())
    }

    /// Pixel data that declares another length than it has.
    pub(crate) fn pixels_declaring(self, length: u32, value: &[u8]) -> Self {
        self.declaring(0x7FE0_0010, "OW", length, value)
    }

    /// An element of a long VR that declares another length than it has.
    pub(crate) fn declaring(mut self, tag: u32, vr: &str, length: u32, value: &[u8]) -> Self {
        self.body.extend(((tag >> 16) as u16).to_le_bytes());
        self.body.extend((tag as u16).to_le_bytes());
        self.body.extend(vr.as_bytes());
        self.body.extend([0, 0]);
        self.body.extend(length.to_le_bytes());
        self.body.extend(value);
        self
    }

    pub(crate) fn pixels(self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("small");
        self.pixels_declaring(length, value)
    }

    /// Encapsulated pixel data with an empty offset table.
    pub(crate) fn fragments(mut self, fragments: &[&[u8]]) -> Self {
        self.body.extend([0xE0, 0x7F, 0x10, 0x00]);
        self.body.extend(b"OB\0\0\xFF\xFF\xFF\xFF");
        for fragment in std::iter::once(&&[][..]).chain(fragments) {
            self.body.extend([0xFE, 0xFF, 0x00, 0xE0]);
            self.body.extend(u32::try_from(fragment.len()).expect("small").to_le_bytes());
            self.body.extend(*fragment);
        }
        self.body.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        self
    }

    /// The data set alone.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole file.
    pub(crate) fn build(&self) -> Vec<u8> {
        self.build_around(&self.body)
    }

    /// The file with another data set, for example a deflated one.
    pub(crate) fn build_around(&self, body: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        file.extend(element(0x0002_0010, "UI", self.transfer_syntax.as_bytes()));
        file.extend(body);
        file
    }
}

fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((tag >> 16) as u16).to_le_bytes());
    bytes.extend((tag as u16).to_le_bytes());
    bytes.extend(vr.as_bytes());
    let odd = value.len() % 2;
    let length = value.len() + odd;
    if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT") {
        bytes.extend([0, 0]);
        bytes.extend(u32::try_from(length).expect("small").to_le_bytes());
    } else {
        bytes.extend(u16::try_from(length).expect("short").to_le_bytes());
    }
    bytes.extend(value);
    bytes.extend(std::iter::repeat_n(if vr == "UI" { 0 } else { b' ' }, odd));
    bytes
}

/// A sequence item with the elements of a data set.
pub(crate) fn item(elements: &DicomFile) -> Vec<u8> {
    let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
    bytes.extend(u32::try_from(elements.body.len()).expect("small").to_le_bytes());
    bytes.extend(&elements.body);
    bytes
}

/// A NIfTI-1 volume of 16-bit values, without orientation.
pub(crate) fn nifti(size: [i16; 3], slope: f32, intercept: f32, values: &[i16]) -> Vec<u8> {
    let voxels: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    volume(4, size, slope, intercept, &voxels)
}

/// A NIfTI-1 volume whose voxels are of the data type `kind`, without orientation.
pub(crate) fn volume(kind: i16, size: [i16; 3], slope: f32, intercept: f32, voxels: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 352];
    file[..4].copy_from_slice(&348i32.to_le_bytes());
    for (axis, length) in [3].into_iter().chain(size).enumerate() {
        file[40 + 2 * axis..42 + 2 * axis].copy_from_slice(&i16::to_le_bytes(length));
    }
    file[70..72].copy_from_slice(&kind.to_le_bytes());
    file[108..112].copy_from_slice(&352f32.to_le_bytes());
    file[112..116].copy_from_slice(&slope.to_le_bytes());
    file[116..120].copy_from_slice(&intercept.to_le_bytes());
    file[344..348].copy_from_slice(b"n+1\0");
    file.extend(voxels);
    file
}

/// As [`volume`], in NIfTI-2.
pub(crate) fn volume2(kind: i16, size: [i64; 3], slope: f64, intercept: f64, voxels: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 544];
    file[..4].copy_from_slice(&540i32.to_le_bytes());
    file[4..8].copy_from_slice(b"n+2\0");
    file[12..14].copy_from_slice(&kind.to_le_bytes());
    for (axis, length) in [3].into_iter().chain(size).enumerate() {
        file[16 + 8 * axis..24 + 8 * axis].copy_from_slice(&i64::to_le_bytes(length));
    }
    file[168..176].copy_from_slice(&544i64.to_le_bytes());
    file[176..184].copy_from_slice(&slope.to_le_bytes());
    file[184..192].copy_from_slice(&intercept.to_le_bytes());
    file.extend(voxels);
    file
}
