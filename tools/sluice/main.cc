// sluice: the operator's command (tools/README.md).

#include <signal.h>

#include <iostream>
#include <string>
#include <vector>

#include "tools/command_line.h"
#include "tools/sluice/destconfig.h"
#include "tools/sluice/destconfig_dialogue.h"
#include "tools/sluice/engine_verbs.h"
#include "tools/sluice/host_verbs.h"
#include "tools/sluice/spool_verbs.h"
#include "tools/sluice/terminal.h"
#include "tools/sluice/tlsverify.h"

namespace sluice::tools {
namespace {

void BindTlsverify(CLI::App& app, TlsverifyOptions& options) {
  CLI::App* verb = app.add_subcommand(
      "tlsverify", "What delivery meets of TLS at a destination; exit 0 only if its level is met");
  verb->add_option("DOMAIN", options.domain, "The recipients' domain")->required();
  verb->add_option("HOST", options.host, "HOST[:PORT]: asks only there, not the domain's route");
  verb->add_option("--config", options.config_path, "The configuration")->capture_default_str();
  verb->add_flag("--all", options.every_host,
                 "Asks every address, not up to the first that will do");
  verb->add_flag("--json", options.json, "Prints JSON");
  verb->add_option("--timeout", options.patience_s, "Seconds for each answer of a host")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
}

void BindEngine(CLI::App* verb, EngineOptions& options) {
  verb->add_option("--socket", options.socket, "The engine's control socket")
      ->envname("SLUICE_SOCKET")
      ->capture_default_str();
  verb->add_flag("--json", options.json, "Prints JSON");
}

void BindEngineVerbs(CLI::App& app, EngineOptions& options) {
  BindEngine(app.add_subcommand("status",
                                "The running engine, shard by shard, and what is "
                                "suspended"),
             options);
  BindEngine(app.add_subcommand("reload", "Reads the tables again; with errors, none of it"),
             options);
}

void BindHostVerbs(CLI::App& app, EngineOptions& options, HostVerbOptions& asked) {
  CLI::App* hoststatus =
      app.add_subcommand("hoststatus", "What holds a destination's mail back, and what it does");
  hoststatus->add_option("DOMAIN", asked.domain, "The recipients' domain")->required();
  CLI::App* tophosts = app.add_subcommand("tophosts", "The 20 destinations with the most");
  tophosts
      ->add_option("BY", asked.by,
                   "active (recipients), connections, delivered, soft or hard (bounced)")
      ->capture_default_str();
  CLI::App* delivernow =
      app.add_subcommand("delivernow", "Tries what waits for its next attempt at once");
  delivernow->add_option("DOMAIN", asked.domain, "The recipients' domain; none: all");
  delivernow->add_flag("--reset-limits", asked.resets_limits,
                       "What counts against recipient limits is forgotten too");
  CLI::App* suspenddel = app.add_subcommand(
      "suspenddel", "Holds mail, also over a restart: begins no delivery and no connection");
  suspenddel->add_option("DOMAIN", asked.domains,
                         "example.com, or .example.com for all below it; none, or ALL: all mail");
  suspenddel->add_option("--for", asked.span, "90s, 30m, 1h, 2d; else until resumedel");
  suspenddel->add_option("--reason", asked.reason, "For whoever finds the mail held; required");
  suspenddel->add_flag("--list", asked.lists, "Only says what is suspended");
  CLI::App* resumedel = app.add_subcommand("resumedel", "Ends what suspenddel began");
  resumedel->add_option("DOMAIN", asked.domains, "As they were suspended; none: all that are");
  for (CLI::App* verb : {hoststatus, tophosts, delivernow, suspenddel, resumedel}) {
    BindEngine(verb, options);
  }
}

// `flags`: those that are words of the command, which come behind it.
void BindDestconfig(CLI::App& app, DestconfigOptions& options, std::vector<std::string>& flags) {
  CLI::App* verb = app.add_subcommand("destconfig", "The table of destination controls");
  verb->add_option(
      "COMMAND", options.words,
      "new SECTION [OPTION=VALUE ...], edit SECTION OPTION=VALUE ..., delete SECTION, "
      "clear, list, detail SECTION|all, test ADDRESS [from=SENDER], import FILE [--merge] "
      "[--dry-run], export FILE, diff, commit, abandon, history, rollback VERSION; "
      "--commit behind an edit. Without any: a dialogue");
  verb->add_option("--socket", options.socket, "The engine's control socket")
      ->envname("SLUICE_SOCKET");
  verb->add_option("--config", options.config_path, "The configuration")->capture_default_str();
  verb->add_flag("--json", options.json, "Prints JSON");
  for (const char* option : {"--merge", "--dry-run", "--commit"}) {
    verb->add_flag_callback(option, [&flags, option] { flags.emplace_back(option); });
  }
}

void BindSpool(CLI::App& app, SpoolOptions& options) {
  CLI::App* verb = app.add_subcommand(
      "spool", "Looks at the logs that keep the mail, and at what is in quarantine");
  verb->require_subcommand(1);
  CLI::App* check = verb->add_subcommand(
      "check", "Reads all of it; exit 0 only if nothing is damaged. Writes nothing");
  CLI::App* show = verb->add_subcommand("show", "One message: its envelope, and where it lies");
  show->add_option("ID", options.id, "As in the delivery log")->required();
  CLI::Option* body = show->add_flag("--body", options.body, "Prints the message itself");
  show->add_flag("--raw", options.raw, "Prints its wire form: dots stuffed, with the last one")
      ->excludes(body);
  CLI::App* release = verb->add_subcommand(
      "release", "Lets a message out of quarantine; the next start of the engine tries it");
  release->add_option("ID", options.id, "As in the delivery log")->required();
  for (CLI::App* one : {check, show, release}) {
    one->add_option("--spool", options.spool, "Its folder; else as the configuration has it");
    one->add_option("--config", options.config_path, "The configuration")->capture_default_str();
    one->add_flag("--json", options.json, "Prints JSON");
  }
}

int RunSpool(const CLI::App& verb, const SpoolOptions& options) {
  const std::string what = verb.get_subcommands().front()->get_name();
  if (what == "show") return ShowMessage(options, std::cout, std::cerr);
  if (what == "release") return ReleaseMessage(options, std::cout, std::cerr);
  return CheckSpool(options, std::cout, std::cerr);
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Sluice's operator's command", "sluice"};
  app.require_subcommand(1);
  TlsverifyOptions tlsverify;
  BindTlsverify(app, tlsverify);
  EngineOptions engine;
  BindEngineVerbs(app, engine);
  HostVerbOptions asked;
  BindHostVerbs(app, engine, asked);
  DestconfigOptions destconfig;
  std::vector<std::string> flags;
  BindDestconfig(app, destconfig, flags);
  SpoolOptions spool;
  BindSpool(app, spool);
  const absl::StatusOr<bool> parsed = ParseCommandLine(app, argc, argv);
  if (!parsed.ok()) {
    std::cerr << "sluice: " << parsed.status().message() << "\n";
    return 2;
  }
  if (!*parsed) return 0;
  const std::string verb = app.get_subcommands().front()->get_name();
  if (verb == "status") return ShowStatus(engine, std::cout, std::cerr);
  if (verb == "reload") return Reload(engine, std::cout, std::cerr);
  if (verb == "hoststatus") return HostStatus(engine, asked, std::cout, std::cerr);
  if (verb == "tophosts") return ShowTopHosts(engine, asked, std::cout, std::cerr);
  if (verb == "delivernow") return DeliverNow(engine, asked, std::cout, std::cerr);
  if (verb == "suspenddel") return Suspend(engine, asked, std::cout, std::cerr);
  if (verb == "resumedel") return Resume(engine, asked, std::cout, std::cerr);
  if (verb == "spool") return RunSpool(*app.get_subcommands().front(), spool);
  if (verb == "destconfig") {
    destconfig.words.insert(destconfig.words.end(), flags.begin(), flags.end());
    const bool commanded = !destconfig.words.empty() || destconfig.json;
    return commanded ? RunDestconfig(destconfig, std::cout, std::cerr)
                     : RunDestconfigDialogue(destconfig, *OpenConsole());
  }
  return Tlsverify(tlsverify, std::cout, std::cerr);
}

}  // namespace
}  // namespace sluice::tools

int main(int argc, char** argv) {
  return sluice::tools::Main(argc, argv);
}
