// SPDX-License-Identifier: Apache-2.0
//
// lstmctl models, load, update, unload, info.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

std::string Details(const v1::Model& model) {
  return absl::StrCat(ShortName(model.name()), " version ", model.version(), " is ",
                      v1::Model::State_Name(model.state()), " on ", model.device(), ": ", Summary(model), ", ",
                      Thousands(model.parameters()), " parameters, ", Bytes(model.weight_bytes()), "\n");
}

absl::Status ListModels(const Context& context) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<std::vector<v1::Model>> models = (*client)->ListModels();
  if (!models.ok()) return models.status();
  if (context.json) {
    Json json = Json::array();
    for (const v1::Model& model : *models) json.push_back(ToJson(model));
    return PrintJson(json);
  }
  if (models->empty()) return Print("The repository of the server has no models.\n");
  Table table({"MODEL", "VERSION", "STATE", "DEVICE", "SHAPE", "WEIGHTS", "SESSIONS"});
  for (const v1::Model& model : *models) {
    const bool loaded = model.has_spec() && model.spec().input_size() > 0;
    table.Add({ShortName(model.name()), absl::StrCat(model.version(), model.default_version() ? " *" : ""),
               v1::Model::State_Name(model.state()), model.device(), Summary(model),
               loaded ? Bytes(model.weight_bytes()) : "", loaded ? absl::StrCat(model.sessions()) : model.error()});
  }
  return Print(table.Text());
}

absl::Status Info(const Context& context) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::ServerInfo> info = (*client)->GetServerInfo();
  if (!info.ok()) return info.status();
  if (context.json) return PrintJson(ToJson(*info));
  std::string text = absl::StrCat(info->name(), " ", info->version(), " at ", context.server, ", since ",
                                  Text(info->start_time()), info->draining() ? ", draining" : "", "\n");
  absl::StrAppend(&text, "models        ", info->models(), "\n");
  absl::StrAppend(&text, "sessions      ", Thousands(info->sessions()), "\n");
  for (const v1::Device& device : info->devices()) {
    absl::StrAppend(&text, "device        ", device.name(), " (", device.backend(), "): ", device.description(), "\n");
  }
  absl::StrAppend(&text, "device calls  ", Thousands(info->batches()), " with ", Thousands(info->batched_rows()),
                  " rows");
  if (info->batches() > 0) {
    absl::StrAppendFormat(&text, ", mean batch %.1f",
                          static_cast<double>(info->batched_rows()) / static_cast<double>(info->batches()));
  }
  absl::StrAppend(&text, "\nlimits        ", info->max_batch_size(), " rows a device call, ",
                  Bytes(info->max_message_bytes()), " a message\n");
  return Print(text);
}

struct ModelArguments {
  std::string model;
  int64_t version = 0;
  std::string device;
  std::string policy;
  bool force = false;
};

absl::Status Load(const Context& context, const ModelArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::Model> model = (*client)->LoadModel(arguments.model, arguments.version, arguments.device);
  if (!model.ok()) return model.status();
  return context.json ? PrintJson(ToJson(*model)) : Print(Details(*model));
}

absl::Status Update(const Context& context, const ModelArguments& arguments) {
  const v1::UpdatePolicy policy = arguments.policy == "pin"      ? v1::UPDATE_POLICY_PIN
                                  : arguments.policy == "follow" ? v1::UPDATE_POLICY_FOLLOW
                                                                 : v1::UPDATE_POLICY_UNSPECIFIED;
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::StatusOr<v1::Model> model = (*client)->UpdateWeights(arguments.model, arguments.version, policy);
  if (!model.ok()) return model.status();
  return context.json ? PrintJson(ToJson(*model)) : Print(Details(*model));
}

absl::Status Unload(const Context& context, const ModelArguments& arguments) {
  absl::StatusOr<std::unique_ptr<Client>> client = context.Connect();
  if (!client.ok()) return client.status();
  absl::Status status = (*client)->UnloadModel(arguments.model, arguments.version, arguments.force);
  if (!status.ok()) return status;
  if (context.json) return PrintJson(Json{{"unloaded", arguments.model}, {"version", arguments.version}});
  return Print(absl::StrCat(arguments.model, " is unloaded\n"));
}

}  // namespace

void AddModelCommands(CLI::App* app, Context* context) {
  CLI::App* models = app->add_subcommand("models", "List the models of the server, loaded or not");
  models->footer("Example:\n  lstmctl models\n* marks the version that a request without one gets.");
  models->callback([context] { context->run = [context] { return ListModels(*context); }; });

  CLI::App* info = app->add_subcommand("info", "Show what the server is, its devices and its load");
  info->footer("Example:\n  lstmctl --server 10.0.0.7:8001 info");
  info->callback([context] { context->run = [context] { return Info(*context); }; });

  auto arguments = std::make_shared<ModelArguments>();
  CLI::App* load = app->add_subcommand("load", "Load a model of the server's repository");
  load->add_option("MODEL", arguments->model, "Its folder in the repository")->required()->type_name("");
  load->add_option("--version", arguments->version, "Which version; 0: the highest")->capture_default_str();
  load->add_option("--device", arguments->device, "cpu, cuda:0 ...; without: the server chooses");
  load->footer("Example:\n  lstmctl load sunspots --version 2");
  load->callback([=] { context->run = [=] { return Load(*context, *arguments); }; });

  CLI::App* update =
      app->add_subcommand("update", "Put another version in the place of the one served; sessions live on");
  update->add_option("MODEL", arguments->model, "The model")->required()->type_name("");
  update->add_option("--version", arguments->version, "Which version, higher or lower; 0: the highest")
      ->capture_default_str();
  update
      ->add_option("--policy", arguments->policy,
                   "pin: sessions stay on their weights until they end; follow: their next step runs on the new ones; "
                   "without: as the server is set")
      ->check(CLI::IsMember({"pin", "follow"}))
      ->type_name("POLICY");
  update->footer("Example:\n  lstmctl update sunspots --version 2 --policy follow");
  update->callback([=] { context->run = [=] { return Update(*context, *arguments); }; });

  CLI::App* unload = app->add_subcommand("unload", "Take a model out of service");
  unload->add_option("MODEL", arguments->model, "The model")->required()->type_name("");
  unload->add_option("--version", arguments->version, "Which version; 0: all that are loaded")->capture_default_str();
  unload->add_flag("--force", arguments->force, "Also when sessions live on it; they end");
  unload->footer("Example:\n  lstmctl unload sunspots --version 1");
  unload->callback([=] { context->run = [=] { return Unload(*context, *arguments); }; });
}

}  // namespace lstmd::client
