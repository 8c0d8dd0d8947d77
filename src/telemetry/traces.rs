//! Traces: a span for each call, joined to the caller's by W3C trace context, exported over OTLP. Off unless an endpoint is
//! given. Whether a call is traced is decided before its span is made, so that those that aren't cost next to nothing.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};

/// How long the last spans may take to be exported at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long an export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes spans, and exports them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    /// How many of the calls whose caller doesn't say are traced, from 0 to 1.
    share: f64,
}

/// The span of one call.
#[derive(Debug)]
pub struct CallSpan(Span);

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

impl Traces {
    /// Exports to an OTLP endpoint (gRPC), such as `http://127.0.0.1:4317`. Calls whose caller's trace context says so are
    /// traced, or are not; of the others this share. Called within an async runtime. The error says what is wrong.
    pub fn start(endpoint: &str, share: f64) -> Result<Self, String> {
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name("queuegate");
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("queuegate");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new(), share })
    }

    /// The span of a call, if it is to be traced. `method` is `/package.Service/Method`; `random` is from 0 to 1.
    pub fn begin(&self, method: &'static str, headers: &HeaderMap, random: f64) -> Option<CallSpan> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let remote = parent.span().span_context().clone();
        let is_traced = if remote.is_valid() { remote.is_sampled() } else { random < self.share };
        if !is_traced {
            return None;
        }
        let method = method.trim_start_matches('/');
        let (service, name) = method.split_once('/').unwrap_or((method, ""));
        let attributes = [("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", name)];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value.to_owned()));
        let builder = SpanBuilder::from_name(method).with_kind(SpanKind::Server).with_attributes(attributes);
        Some(CallSpan(self.tracer.build_with_context(builder, &parent)))
    }

    /// Exports what is left. Blocks; not for an async thread.
    pub fn finish(&self) {
        // There is nobody left to tell.
        let _ = self.provider.shutdown_with_timeout(FAREWELL);
    }
}

impl CallSpan {
    /// Ends the span with the call's status: its name, and its number.
    pub fn end(mut self, code: &'static str, number: i32) {
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(number)));
        // What the server is to blame for, as OpenTelemetry's conventions for gRPC have it.
        if ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"].contains(&code) {
            self.0.set_status(Status::error(code));
        }
        self.0.end();
    }
}
