//! HTTP/1.1 requests and answers of the public listener.
