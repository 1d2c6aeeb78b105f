package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/push"
)

func (a *API) pushRuleRoutes(r *httpapi.Router) {
	const rule = "/pushrules/global/{kind}/{ruleID}"
	limit := httpapi.Limit("ephemeral")
	v3(r, "GET", "/pushrules", httpapi.Authed(a.pushRules), httpapi.TrailingSlash())
	v3(r, "GET", "/pushrules/global", httpapi.Authed(a.globalPushRules), httpapi.TrailingSlash())
	v3(r, "GET", rule, httpapi.Authed(a.pushRule))
	v3(r, "PUT", rule, httpapi.Authed(a.setPushRule), limit)
	v3(r, "DELETE", rule, httpapi.Authed(a.deletePushRule), limit)
	v3(r, "GET", rule+"/enabled", httpapi.Authed(a.pushRuleEnabled))
	v3(r, "PUT", rule+"/enabled", httpapi.Authed(a.enablePushRule), limit)
	v3(r, "GET", rule+"/actions", httpapi.Authed(a.pushRuleActions))
	v3(r, "PUT", rule+"/actions", httpapi.Authed(a.setPushRuleActions), limit)
}

type pushRulesResponse struct {
	Global *push.Ruleset `json:"global"`
}

// pushRules lists the caller's push rules.
//
// Spec: GET /_matrix/client/v3/pushrules/
func (a *API) pushRules(ctx context.Context, c *httpapi.Caller, _ *none) (*pushRulesResponse, error) {
	rules, err := a.push.Rules(ctx, c.User)
	return &pushRulesResponse{Global: rules}, err
}

// globalPushRules lists the caller's push rules, of the only scope there is.
//
// Spec: GET /_matrix/client/v3/pushrules/global/
func (a *API) globalPushRules(ctx context.Context, c *httpapi.Caller, _ *none) (*push.Ruleset, error) {
	return a.push.Rules(ctx, c.User)
}

type pushRuleRequest struct {
	Kind   string `path:"kind"`
	RuleID string `path:"ruleID"`
}

func (a *API) findPushRule(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest) (*push.Rule, error) {
	kind, err := push.ParseKind(q.Kind)
	if err != nil {
		return nil, err
	}
	return a.push.Rule(ctx, c.User, kind, q.RuleID)
}

func (a *API) changePushRule(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest, change func(*push.Changes, push.Kind) error) error {
	kind, err := push.ParseKind(q.Kind)
	if err != nil {
		return err
	}
	return a.push.Change(ctx, c.User, func(changes *push.Changes) error { return change(changes, kind) })
}

// pushRule tells one of the caller's push rules.
//
// Spec: GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (a *API) pushRule(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest) (*push.Rule, error) {
	return a.findPushRule(ctx, c, q)
}

type setPushRuleRequest struct {
	pushRuleRequest
	Before     string             `query:"before"`
	After      string             `query:"after"`
	Actions    []json.RawMessage  `json:"actions"`
	Conditions *[]json.RawMessage `json:"conditions"`
	Pattern    *string            `json:"pattern"`
}

// setPushRule adds or changes a push rule of the caller.
//
// Spec: PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (a *API) setPushRule(ctx context.Context, c *httpapi.Caller, q *setPushRuleRequest) (*none, error) {
	rule := push.Rule{ID: q.RuleID, Actions: q.Actions, Conditions: q.Conditions, Pattern: q.Pattern}
	return nil, a.changePushRule(ctx, c, &q.pushRuleRequest, func(changes *push.Changes, k push.Kind) error {
		return changes.Put(k, rule, q.Before, q.After)
	})
}

// deletePushRule removes a push rule of the caller.
//
// Spec: DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (a *API) deletePushRule(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest) (*none, error) {
	return nil, a.changePushRule(ctx, c, q, func(changes *push.Changes, k push.Kind) error { return changes.Delete(k, q.RuleID) })
}

type pushRuleEnabledResponse struct {
	Enabled bool `json:"enabled"`
}

// pushRuleEnabled says whether a push rule of the caller is enabled.
//
// Spec: GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
func (a *API) pushRuleEnabled(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest) (*pushRuleEnabledResponse, error) {
	rule, err := a.findPushRule(ctx, c, q)
	if err != nil {
		return nil, err
	}
	return &pushRuleEnabledResponse{Enabled: rule.Enabled}, nil
}

type enablePushRuleRequest struct {
	pushRuleRequest
	Enabled *bool `json:"enabled"`
}

// enablePushRule enables or disables a push rule of the caller.
//
// Spec: PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
func (a *API) enablePushRule(ctx context.Context, c *httpapi.Caller, q *enablePushRuleRequest) (*none, error) {
	if q.Enabled == nil {
		return nil, matrix.MissingParam("enabled is missing")
	}
	return nil, a.changePushRule(ctx, c, &q.pushRuleRequest, func(changes *push.Changes, k push.Kind) error {
		return changes.SetEnabled(k, q.RuleID, *q.Enabled)
	})
}

type pushRuleActionsResponse struct {
	Actions []json.RawMessage `json:"actions"`
}

// pushRuleActions tells what a push rule of the caller does.
//
// Spec: GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions
func (a *API) pushRuleActions(ctx context.Context, c *httpapi.Caller, q *pushRuleRequest) (*pushRuleActionsResponse, error) {
	rule, err := a.findPushRule(ctx, c, q)
	if err != nil {
		return nil, err
	}
	return &pushRuleActionsResponse{Actions: rule.Actions}, nil
}

type setPushRuleActionsRequest struct {
	pushRuleRequest
	Actions []json.RawMessage `json:"actions"`
}

// setPushRuleActions changes what a push rule of the caller does.
//
// Spec: PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions
func (a *API) setPushRuleActions(ctx context.Context, c *httpapi.Caller, q *setPushRuleActionsRequest) (*none, error) {
	return nil, a.changePushRule(ctx, c, &q.pushRuleRequest, func(changes *push.Changes, k push.Kind) error {
		return changes.SetActions(k, q.RuleID, q.Actions)
	})
}
