// SPDX-License-Identifier: Apache-2.0
//
// lstmctl import.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/import.h"
#include "client/lstmctl/command.h"
#include "client/lstmctl/print.h"

namespace lstmd::client {
namespace {

absl::Status Import(const Context& context, const ImportOptions& options) {
  absl::StatusOr<ImportedModel> model = ImportModel(options);
  if (!model.ok()) return model.status();
  const Json spec = Json::parse(model->spec_json, nullptr, /*allow_exceptions=*/false);
  if (context.json) {
    return PrintJson(Json{{"name", options.name},
                          {"version", model->version},
                          {"path", model->path},
                          {"parameters", model->parameters},
                          {"weights_sha256", model->weights_sha256},
                          {"spec", spec},
                          {"notes", model->notes}});
  }
  return Print(absl::StrCat(model->notes, model->notes.empty() ? "" : "\n", options.name, " version ", model->version,
                            ": ", Thousands(model->parameters), " parameters in ", model->path, "\n", spec.dump(2),
                            "\nA server on this repository loads it with: lstmctl load ", options.name, " --version ",
                            model->version, "\n"));
}

}  // namespace

void AddImportCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* import = app->add_subcommand("import", "Make a repository entry from a framework's checkpoint");
  import
      ->add_option("FILE", options->file,
                   "The checkpoint: .safetensors, .onnx; through the Python package lstmd_convert also .pt .pth .keras "
                   ".h5 .pdparams .ckpt")
      ->required()
      ->type_name("");
  import->add_option("--name", options->name, "Name of the model")->required();
  import->add_option("--repository", options->repository, "Folder of the server's repository")
      ->required()
      ->type_name("DIR");
  import->add_option("--version", options->version, "Its version; 0: one more than the highest")->capture_default_str();
  import->add_option("--spec", options->spec, "The spec (lstm.json), where the file does not say everything")
      ->type_name("FILE");
  import->add_option("--node", options->node, "One LSTM node of an .onnx file whose graph does more, by its name")
      ->type_name("NAME");
  import->add_flag("--force", options->force, "Replace the version if it exists");
  import->add_option("ARGUMENTS", options->converter_arguments, "After --: for the converter, see its --help")
      ->type_name("");
  import->footer(
      "Examples:\n"
      "  lstmctl import model.safetensors --name pump --repository models\n"
      "  lstmctl import forecaster.pt --name pump --repository models -- --layer rnn --head fc\n"
      "The entry is read back as a server would before it gets its name.");
  import->callback([=] { context->run = [=] { return Import(*context, *options);
};
}  // namespace lstmd::client
);
}

}  // namespace lstmd::client
