// The story of tests/clients/README.md with grpc-go and generated code: story ADDRESS ORGANIZATION.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "queuegate/v1"
)

// The codec of messages that protoc-gen-go generates today. Older versions of grpc-go have an older one.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) { return proto.Marshal(message.(proto.Message)) }

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (codec) Name() string { return "proto" }

var passed int

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func expect(rule string, found, wanted interface{}) {
	if !reflect.DeepEqual(found, wanted) {
		must(fmt.Errorf("%s: %v instead of %v", rule, found, wanted))
	}
	fmt.Println("ok:", rule)
	passed++
}

func within(duration time.Duration) context.Context {
	// The program is short, so nothing needs to be cancelled.
	ctx, _ := context.WithTimeout(context.Background(), duration)
	return ctx
}

func connect(address string) *grpc.ClientConn {
	connection, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip")))
	must(err)
	return connection
}

func main() {
	encoding.RegisterCodec(codec{})
	address, organization := os.Args[1], os.Args[2]
	connection := connect(address)
	directory := pb.NewDirectoryServiceClient(connection)
	permission := pb.NewPermissionServiceClient(connection)
	access := pb.NewQueueAccessServiceClient(connection)
	soon := within(30 * time.Second)

	created, err := directory.CreateOrganization(soon, &pb.CreateOrganizationRequest{
		Organization:          &pb.Organization{OrganizationId: organization, DisplayName: proto.String("Generated")},
		UnassignedQueueSignIn: pb.UnassignedQueueSignIn_UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED,
	})
	must(err)
	expect("an organization is created", created.Organization.GetDisplayName(), "Generated")
	_, err = directory.CreateQueue(soon, &pb.CreateQueueRequest{
		OrganizationId: organization,
		Queue:          &pb.Queue{QueueId: "sales", Extension: proto.String("801"), Kind: pb.QueueKind_QUEUE_KIND_CALL_QUEUE},
	})
	must(err)
	for _, user := range []string{"ann", "bob"} {
		request := &pb.CreateUserRequest{OrganizationId: organization, User: &pb.User{UserId: user}}
		_, err = directory.CreateUser(soon, request)
		must(err)
	}
	listed, err := directory.ListUsers(soon, &pb.ListUsersRequest{OrganizationId: organization})
	must(err)
	expect("its users are listed", []string{listed.Users[0].UserId, listed.Users[1].UserId}, []string{"ann", "bob"})

	signIn := func(user string) *pb.SignInResponse {
		answer, err := access.SignIn(soon, &pb.SignInRequest{
			OrganizationId: organization,
			User:           &pb.SignInRequest_UserId{UserId: user},
			Queue:          &pb.SignInRequest_QueueId{QueueId: "sales"},
			Channel:        pb.Channel_CHANNEL_FEATURE_CODE,
		})
		must(err)
		return answer
	}
	denied := signIn("ann")
	expect("a sign-in is denied", denied.Decision.Reason, pb.Reason_REASON_UNASSIGNED_RESTRICTED)
	expect("a denial has no session", denied.Decision.GetAllowed() || denied.Session != nil, false)
	allowed := &pb.OrganizationSettings{
		UnassignedQueueSignIn: pb.UnassignedQueueSignIn_UNASSIGNED_QUEUE_SIGN_IN_ALLOWED,
	}
	_, err = permission.UpdatePermissionSettings(soon, &pb.UpdatePermissionSettingsRequest{
		OrganizationId: organization,
		Settings:       &pb.PermissionSettings{Organization: allowed},
	})
	must(err)
	signedIn := signIn("ann")
	expect("after a change of policy it is allowed", signedIn.Decision.GetAllowed(), true)
	expect("a session was created", signedIn.Created, true)

	// The first messages of a watch on a connection of its own, which is then cut.
	watched := func(startRevision string) []*pb.WatchSessionsResponse {
		connection := connect(address)
		defer connection.Close()
		request := &pb.WatchSessionsRequest{OrganizationId: organization, StartRevision: startRevision}
		stream, err := pb.NewQueueAccessServiceClient(connection).WatchSessions(soon, request)
		must(err)
		var messages []*pb.WatchSessionsResponse
		for len(messages) < 2 {
			message, err := stream.Recv()
			must(err)
			messages = append(messages, message)
		}
		return messages
	}
	messages := watched("")
	initial, checkpoint := messages[0], messages[1]
	expect("a watch begins with the live sessions", initial.Session.SessionId, signedIn.Session.SessionId)
	expect("then it sends a checkpoint", checkpoint.Type, pb.WatchSessionsType_WATCH_SESSIONS_TYPE_CHECKPOINT)
	signIn("bob")
	signedOut, err := access.SignOut(soon, &pb.SignOutRequest{
		OrganizationId: organization,
		User:           &pb.SignOutRequest_UserId{UserId: "ann"},
		Queue:          &pb.SignOutRequest_QueueId{QueueId: "sales"},
	})
	must(err)
	expect("a user signs out", signedOut.EndedSessions[0].UserId, "ann")
	var events []string
	for _, message := range watched(checkpoint.Revision) {
		events = append(events, message.Type.String()+" "+message.Session.UserId)
	}
	missed := []string{"WATCH_SESSIONS_TYPE_SIGNED_IN bob", "WATCH_SESSIONS_TYPE_SIGNED_OUT ann"}
	expect("a watch that was cut resumes without a gap", events, missed)

	parts := strings.Split(checkpoint.Revision, "-")
	sequence, err := strconv.ParseUint(parts[2], 16, 64)
	must(err)
	later := fmt.Sprintf("%s-%s-%016x", parts[0], parts[1], sequence+1000)
	_, err = directory.GetOrganization(within(300*time.Millisecond), &pb.GetOrganizationRequest{
		OrganizationId:  organization,
		AtLeastRevision: later,
	})
	expect("a deadline ends a call", status.Code(err), codes.DeadlineExceeded)

	_, err = directory.CreateUser(soon, &pb.CreateUserRequest{
		OrganizationId: organization,
		User:           &pb.User{UserId: "Not an id", Extension: proto.String("x")},
	})
	var reason string
	var fields []string
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fields = append(fields, violation.Field)
			}
		}
	}
	expect("an error has its reason", status.Code(err).String()+" "+reason, "InvalidArgument INVALID_FIELD")
	expect("and names every bad field", fields, []string{"user.user_id", "user.extension"})
	fmt.Printf("go: %d passed, 0 failed\n", passed)
}
