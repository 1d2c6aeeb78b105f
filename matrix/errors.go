package matrix

import (
	"fmt"
	"time"
)

// Code is an error code of the specification.
type Code string

// The error codes. Their HTTP statuses are in httpapi's table.
//
// Spec: CS "Common error codes", "Other error codes".
const (
	CodeAppserviceLoginUnsupported  Code = "M_APPSERVICE_LOGIN_UNSUPPORTED"
	CodeBadAlias                    Code = "M_BAD_ALIAS"
	CodeBadJSON                     Code = "M_BAD_JSON"
	CodeBadState                    Code = "M_BAD_STATE"
	CodeBadStatus                   Code = "M_BAD_STATUS"
	CodeCannotLeaveServerNoticeRoom Code = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
	CodeCannotOverwriteMedia        Code = "M_CANNOT_OVERWRITE_MEDIA"
	CodeCaptchaInvalid              Code = "M_CAPTCHA_INVALID"
	CodeCaptchaNeeded               Code = "M_CAPTCHA_NEEDED"
	CodeConnectionFailed            Code = "M_CONNECTION_FAILED"
	CodeConnectionTimeout           Code = "M_CONNECTION_TIMEOUT"
	CodeDuplicateAnnotation         Code = "M_DUPLICATE_ANNOTATION"
	CodeExclusive                   Code = "M_EXCLUSIVE"
	CodeForbidden                   Code = "M_FORBIDDEN"
	CodeGuestAccessForbidden        Code = "M_GUEST_ACCESS_FORBIDDEN"
	CodeIncompatibleRoomVersion     Code = "M_INCOMPATIBLE_ROOM_VERSION"
	CodeInvalidParam                Code = "M_INVALID_PARAM"
	CodeInvalidRoomState            Code = "M_INVALID_ROOM_STATE"
	CodeInvalidSignature            Code = "M_INVALID_SIGNATURE"
	CodeInvalidUsername             Code = "M_INVALID_USERNAME"
	CodeInviteBlocked               Code = "M_INVITE_BLOCKED"
	CodeKeyTooLarge                 Code = "M_KEY_TOO_LARGE"
	CodeLimitExceeded               Code = "M_LIMIT_EXCEEDED"
	CodeMissingParam                Code = "M_MISSING_PARAM"
	CodeMissingToken                Code = "M_MISSING_TOKEN"
	CodeNotFound                    Code = "M_NOT_FOUND"
	CodeNotJSON                     Code = "M_NOT_JSON"
	CodeNotYetUploaded              Code = "M_NOT_YET_UPLOADED"
	CodeProfileTooLarge             Code = "M_PROFILE_TOO_LARGE"
	CodeResourceLimitExceeded       Code = "M_RESOURCE_LIMIT_EXCEEDED"
	CodeRoomInUse                   Code = "M_ROOM_IN_USE"
	CodeServerNotTrusted            Code = "M_SERVER_NOT_TRUSTED"
	CodeThreepidAuthFailed          Code = "M_THREEPID_AUTH_FAILED"
	CodeThreepidDenied              Code = "M_THREEPID_DENIED"
	CodeThreepidInUse               Code = "M_THREEPID_IN_USE"
	CodeThreepidMediumNotSupported  Code = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
	CodeThreepidNotFound            Code = "M_THREEPID_NOT_FOUND"
	CodeTooLarge                    Code = "M_TOO_LARGE"
	CodeUnableToAuthoriseJoin       Code = "M_UNABLE_TO_AUTHORISE_JOIN"
	CodeUnableToGrantJoin           Code = "M_UNABLE_TO_GRANT_JOIN"
	CodeUnauthorized                Code = "M_UNAUTHORIZED"
	CodeUnknown                     Code = "M_UNKNOWN"
	CodeUnknownDevice               Code = "M_UNKNOWN_DEVICE"
	CodeUnknownPos                  Code = "M_UNKNOWN_POS"
	CodeUnknownToken                Code = "M_UNKNOWN_TOKEN"
	CodeUnrecognized                Code = "M_UNRECOGNIZED"
	CodeUnsupportedRoomVersion      Code = "M_UNSUPPORTED_ROOM_VERSION"
	CodeURLNotSet                   Code = "M_URL_NOT_SET"
	CodeUserDeactivated             Code = "M_USER_DEACTIVATED"
	CodeUserInUse                   Code = "M_USER_IN_USE"
	CodeUserLimitExceeded           Code = "M_USER_LIMIT_EXCEEDED"
	CodeUserLocked                  Code = "M_USER_LOCKED"
	CodeUserSuspended               Code = "M_USER_SUSPENDED"
	CodeWeakPassword                Code = "M_WEAK_PASSWORD"
	CodeWrongRoomKeysVersion        Code = "M_WRONG_ROOM_KEYS_VERSION"
)

// Error is a fault of the caller: its code and text are what they see. Every other error is the
// server's own fault, is logged, and its text is never shown.
type Error struct {
	Code    Code
	Message string
	// Status overrides the HTTP status that the table of httpapi has for the code, where not 0.
	Status int
	// Fields are further members of the error body, such as soft_logout or retry_after_ms.
	Fields map[string]any
	// Limiter names the limit that was met, of CodeLimitExceeded.
	Limiter string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// With gives a copy of the error that has one more member in its body.
func (e *Error) With(field string, value any) *Error {
	c := *e
	c.Fields = map[string]any{field: value}
	for k, v := range e.Fields {
		c.Fields[k] = v
	}
	return &c
}

// WithStatus gives a copy of the error that is answered with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// E makes an error of any code.
func E(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is for what the caller may not do.
func Forbidden(format string, args ...any) *Error { return E(CodeForbidden, format, args...) }

// NotFound is for what is not there, or what the caller may not know to be there.
func NotFound(format string, args ...any) *Error { return E(CodeNotFound, format, args...) }

// BadJSON is for bodies that are JSON, but not of the shape that the endpoint takes.
func BadJSON(format string, args ...any) *Error { return E(CodeBadJSON, format, args...) }

// InvalidParam is for a parameter with a wrong value.
func InvalidParam(format string, args ...any) *Error { return E(CodeInvalidParam, format, args...) }

// MissingParam is for a parameter that must be there.
func MissingParam(format string, args ...any) *Error { return E(CodeMissingParam, format, args...) }

// TooMany is for what meets a limit, which is named for those who look after the server. After some time it may be
// tried again.
func TooMany(limiter string, after time.Duration, format string, args ...any) *Error {
	e := E(CodeLimitExceeded, format, args...).With("retry_after_ms", after.Milliseconds())
	e.Limiter = limiter
	return e
}
