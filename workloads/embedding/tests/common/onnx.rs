//! ONNX files written by hand, so that faulty models can be tested without a faulty file in the repository.
//!
//! The wire format is protocol buffers'; the field numbers are those of onnx.proto3 (IR version 8).

/// A field with a length: a message or a string.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(number << 3) | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// A field with a small number.
fn number(field_number: u8, value: u8) -> Vec<u8> {
    assert!(value < 0x80, "only one byte is written");
    vec![field_number << 3, value]
}

fn node(operator: &str, input: &str, output: &str) -> Vec<u8> {
    // NodeProto: input 1, output 2, op_type 4.
    let content =
        [field(1, input.as_bytes()), field(2, output.as_bytes()), field(4, operator.as_bytes())].concat();
    field(1, &content)
}

/// `name` as a tensor of float32 with `rank` free axes, in the graph's field `graph_field`.
fn value(graph_field: u8, name: &str, rank: usize) -> Vec<u8> {
    // ValueInfoProto: name 1, type 2. TypeProto: tensor_type 1. Tensor: elem_type 1 (1 = float), shape 2.
    // TensorShapeProto: dim 1. Dimension: dim_param 2.
    let shape: Vec<u8> =
        (0..rank).flat_map(|axis| field(1, &field(2, format!("axis{axis}").as_bytes()))).collect();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    field(graph_field, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
}

/// A graph `image` → average of each channel → `operators` one after another → `embedding`, `[images, 3]`; a second
/// output, `planes`, is the image as it came, `[images, 3, height, width]`.
pub(crate) fn mean_colour(operators: &[&str]) -> Vec<u8> {
    let mut nodes = node("GlobalAveragePool", "image", "mean");
    let mut tensor = "mean".to_owned();
    for (index, operator) in operators.iter().enumerate() {
        let output = format!("step{index}");
        nodes.extend(node(operator, &tensor, &output));
        tensor = output;
    }
    nodes.extend(node("Flatten", &tensor, "embedding"));
    nodes.extend(node("Identity", "image", "planes"));
    // GraphProto: node 1, name 2, input 11, output 12.
    let outputs = [value(12, "embedding", 2), value(12, "planes", 4)].concat();
    let graph = [nodes, field(2, b"tiny"), value(11, "image", 4), outputs].concat();
    // ModelProto: ir_version 1, graph 7, opset_import 8. OperatorSetIdProto: version 2.
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}
