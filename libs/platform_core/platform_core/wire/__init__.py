"""What crosses a wire: HTTP bodies and events as frozen Structs. The OpenAPI document is generated from these."""
