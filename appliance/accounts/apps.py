from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "appliance.accounts"
    label = "accounts"

    def ready(self) -> None:
        from appliance.accounts import people  # noqa: F401  (it registers what waits for approval)
