//! The content type of a call.

use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};

/// Check that a request is a gRPC call, or return the HTTP status that refuses it. A web page may send requests with
/// other content types to any server without a preflight request, with the client certificate of the page's reader.
pub fn is_grpc<B>(request: &Request<B>) -> Result<(), StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc").ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)?;
    let parameters = rest.strip_prefix(b"+proto").unwrap_or(rest).trim_ascii_start();
    match parameters.first() {
        None | Some(b';') => Ok(()),
        Some(_) => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_post_requests_with_a_grpc_content_type_are_calls() {
        let asked = |method: Method, content_type: Option<&str>| {
            let request = content_type.iter().fold(Request::builder().method(method), |request, content_type| {
                request.header(CONTENT_TYPE, *content_type)
            });
            is_grpc(&request.body(()).unwrap())
        };
        for taken in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; charset=utf-8",
            "application/grpc+proto;a=b",
        ] {
            assert_eq!(asked(Method::POST, Some(taken)), Ok(()), "{taken}");
        }
        let refused = [
            "text/plain",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
            "application/grpcx",
            "",
        ];
        for content_type in refused.map(Some).into_iter().chain([None]) {
            assert_eq!(asked(Method::POST, content_type), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{content_type:?}");
        }
        assert_eq!(asked(Method::GET, Some("application/grpc")), Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
