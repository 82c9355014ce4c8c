package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
)

const (
	// credentialsTimeout bounds the search for credentials. It is less than dialTimeout, so that who waits for a broker learns the reason.
	credentialsTimeout = 4 * time.Second
	// credentialsWindow is how long before their end credentials are replaced.
	credentialsWindow = 5 * time.Minute
)

// iam is AWS_MSK_IAM: each session signs with credentials that the AWS SDK finds where AWS puts them, as they are then. It is safe for
// concurrent use.
type iam struct {
	sasl.Mechanism

	mu   sync.Mutex
	from awssdk.CredentialsProvider // keeps credentials up to their end; nil: look for them again
	used string                     // names the credentials that were signed with last, without what is secret of them
}

func newIAM() *iam {
	m := &iam{}
	m.Mechanism = aws.ManagedStreamingIAM(m.credentials)
	return m
}

// Authenticate implements sasl.Mechanism. Besides the credentials, a signature needs the region.
func (m *iam) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	session, first, err := m.Mechanism.Authenticate(ctx, host)
	if err == nil {
		return session, first, nil
	}
	if _, known := errors.AsType[*sourceError](err); !known {
		err = &sourceError{what: "sign a login by AWS_MSK_IAM", err: err, refused: true,
			hint: "the broker's name does not tell its region: set AWS_REGION, or name the brokers in kafka.brokers as AWS does"}
	}
	return nil, nil, err
}

// credentials returns those of now.
func (m *iam) credentials(ctx context.Context) (aws.Auth, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	from, err := m.provider(ctx)
	if err != nil {
		return aws.Auth{}, credentialsError(err, true)
	}
	found, err := from.Retrieve(ctx)
	if err != nil {
		answer, ok := errors.AsType[interface {
			error
			HTTPStatusCode() int
		}](err)
		return aws.Auth{}, credentialsError(err, ok && answer.HTTPStatusCode()/100 == 4)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = fmt.Sprintf("%s of %s", found.AccessKeyID, found.Source)
	if !found.CanExpire {
		m.from = nil // they may be in a file that somebody replaces
	}
	return aws.Auth{AccessKey: found.AccessKeyID, SecretKey: found.SecretAccessKey, SessionToken: found.SessionToken}, nil
}

// provider looks for the source of the credentials unless it is known.
func (m *iam) provider(ctx context.Context) (awssdk.CredentialsProvider, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.from == nil {
		found, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithCredentialsCacheOptions(func(o *awssdk.CredentialsCacheOptions) {
			o.ExpiryWindow = credentialsWindow
		}))
		if err != nil {
			return nil, err
		}
		m.from = found.Credentials
	}
	return m.from, nil
}

// forget has the next session look for credentials again, because these were refused, and says what to check.
func (m *iam) forget() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = nil
	return fmt.Sprintf("check that the credentials %s are still valid, that their policy allows kafka-cluster:Connect on this cluster "+
		"(docs/operations.md has all that the poller needs), and that the clock of this machine is right", m.used)
}

// credentialsError says why there are no credentials. What a credential process has printed is not part of it: it may be a secret.
func credentialsError(err error, refused bool) error {
	if _, ok := errors.AsType[*processcreds.ProviderError](err); ok {
		err = errors.New("credential_process has failed, or has printed what is no credentials")
	}
	return &sourceError{what: "get AWS credentials", err: err, refused: refused,
		hint: "give the poller a role (of its service account, task or machine), a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, " +
			"and AWS_REGION where a role is assumed; docs/operations.md says how"}
}
