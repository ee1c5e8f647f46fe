//! Embedding and recognition of images with ONNX Runtime.
