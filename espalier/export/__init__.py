"""A trained model in the formats of others: ONNX, torch.export, safetensors, a bundle, a folder for a hub."""
