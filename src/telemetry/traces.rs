//! Traces: a span for each call, a child of the caller's span (W3C trace context), exported over OTLP. Disabled without
//! an endpoint. Sampling is decided before the span is created, so that calls that aren't traced cost almost nothing.

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

/// Time limit for the export of the last spans at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of an export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates and exports spans.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    /// Sampling ratio for calls without a `traceparent`, from 0 to 1.
    share: f64,
}

/// The span of one call.
#[derive(Debug)]
pub struct CallSpan {
    exported: Span,
    /// Names the trace in the log lines of the call.
    logged: tracing::Span,
}

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
    /// Export to an OTLP endpoint (gRPC), such as `http://127.0.0.1:4317`. The caller's trace context decides on
    /// sampling; `share` is the ratio for calls without one. Must be called within an async runtime. The error
    /// describes the problem.
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

    /// Return the span of a call, or `None` if it isn't sampled. `method` is `/package.Service/Method`; `random` is
    /// from 0 to 1.
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
        let exported = self.tracer.build_with_context(builder, &parent);
        let trace_id = exported.span_context().trace_id();
        Some(CallSpan { logged: tracing::info_span!("call", method, %trace_id), exported })
    }

    /// Export the remaining spans. Blocks, so don't call it on an async thread.
    pub fn finish(&self) {
        // A failure can't be reported any more.
        let _ = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
    }
}

impl CallSpan {
    /// Run a part of the call within the span, so that its log lines name the trace.
    pub fn in_scope<T>(&self, run: impl FnOnce() -> T) -> T {
        self.logged.in_scope(run)
    }

    /// End the span with the call's status: its name, and its number.
    pub fn end(mut self, code: &'static str, number: i32) {
        self.exported.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(number)));
        // Server errors by OpenTelemetry's conventions for gRPC.
        if ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"].contains(&code) {
            self.exported.set_status(Status::error(code));
        }
        self.exported.end();
    }
}
