"""What running the stack needs: parameters and dashboards."""

from __future__ import annotations

from applier.kinds.core import Kind, Update, request_of

PARAMETER = Kind(
    service="ssm",
    name="Parameter",
    create="PutParameter",
    read="GetParameter",
    delete="DeleteParameter",
    key="Name",
    keys={"Name": "Name"},
    within="Parameter",
    fields=("Name", "Type", "Value", "DataType"),
    updates=(
        Update(
            "PutParameter",
            frozenset({"Value"}),
            lambda spec, _: {"Name": spec["Name"], "Value": spec["Value"], "Overwrite": True},
        ),
    ),
)

DASHBOARD = Kind(
    service="cloudwatch",
    name="Dashboard",
    create="PutDashboard",
    read="GetDashboard",
    delete="DeleteDashboards",
    key="DashboardName",
    keys={"DashboardName": "DashboardName"},
    fields=("DashboardName", "DashboardBody"),
    updates=(Update("PutDashboard", frozenset({"DashboardBody"}), request_of("DashboardName", "DashboardBody")),),
)
