"""A client of the service made with grpcio; fails with what is not as it should be."""

import sys

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from rowcount.v1 import row_count_service_pb2 as pb
from rowcount.v1 import row_count_service_pb2_grpc as pb_grpc

TIMEOUT = 30


def refused(call, request):
    """The details of the error by their type, after its code."""
    try:
        answer = call(request, timeout=TIMEOUT)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert status.code == error.code().value[0] and status.message == error.details(), status
        details = {}
        for packed in status.details:
            kind = packed.TypeName().rsplit(".", 1)[1]
            details[kind] = getattr(error_details_pb2, kind)()
            assert packed.Unpack(details[kind])
        return error.code(), details
    raise AssertionError(f"it answered {answer}")


with grpc.insecure_channel(sys.argv[1]) as channel:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "liveness", "rowcount.v1.RowCountService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, (service, answer)

    stub = pb_grpc.RowCountServiceStub(channel)
    counts = stub.GetRowCounts(pb.GetRowCountsRequest(), timeout=TIMEOUT).row_counts
    by_name = {count.query_name: count for count in counts}
    assert by_name["top_level_namespaces"].row_count == 1, counts

    done = stub.TriggerCollection(pb.TriggerCollectionRequest(wait_timeout={"seconds": TIMEOUT}), timeout=TIMEOUT)
    # Three tables are only in newer versions of the schema; that is no failure.
    assert done.collection.state == pb.Collection.STATE_SUCCEEDED, done

    stream = stub.WatchRowCounts(pb.WatchRowCountsRequest(query_names=["tags"]), timeout=TIMEOUT)
    assert [count.query_name for count in next(stream).row_counts] == ["tags"]
    stream.cancel()

    code, details = refused(stub.GetRowCounts, pb.GetRowCountsRequest(query_names=["nobody"]))
    assert code == grpc.StatusCode.NOT_FOUND, code
    assert details["ErrorInfo"].reason == "UNKNOWN_QUERY", details
    assert details["ErrorInfo"].domain == "rowcount.v1", details
    assert details["ErrorInfo"].metadata["query_names"] == "nobody", details

    code, details = refused(stub.TriggerCollection, pb.TriggerCollectionRequest(request_id="mine"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT, code
    assert details["BadRequest"].field_violations[0].field == "request_id", details

print("done")
