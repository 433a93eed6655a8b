/*
 * The handlers that the table of routes (server/routes.c) names, one per HTTP call. Each is a
 * call_fn: see server/api.h for how it answers.
 */
#pragma once

#include "server/api.h"

/* api_version.c: versions, login, and what is asked before anything else */
call_fn api_version_list, api_version_show, api_login, api_project_show;
call_fn api_cluster_list, api_module_list, api_instance_modules;

/* api_limits.c, api_flavor.c, api_datastore.c: what there is to be had */
call_fn api_limits, api_flavor_list, api_flavor_show;
call_fn api_datastore_list, api_datastore_show, api_datastore_delete, api_datastore_versions;
call_fn api_datastore_version, api_version_by_id, api_version_flavors, api_version_volumes;

/* api_instance.c, api_create.c, api_action.c: instances */
call_fn api_instance_list, api_instance_detail, api_instance_show, api_instance_create;
call_fn api_instance_put, api_instance_patch, api_instance_delete, api_instance_action;

/* api_operate.c: what its group's durability promises */
call_fn api_instance_durability;

/* api_election.c: who would be the source if the present one were ejected */
call_fn api_instance_election;

/* api_agent.c: what agents call */
call_fn api_agent_report, api_agent_goals;

/* api_ops.c: what is going on */
call_fn api_events, api_operations;

/* api_health.c: for those who watch over tanistd */
call_fn api_healthz, api_readyz, api_metrics;
