// The reverse-path that a host hears: tagged where the destination's controls say so, and as it was
// where they do not, where there is no key, and in what is kept of the message.

#include <string>

#include "policy/bounce_tag.h"
#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

class Tagging : public DispatcherTest {
 protected:
  Tagging() : tagger_("Cisco_key") {}

  size_t HeardTagged() { return network_.CountHeardByAll("MAIL FROM:<prvs=a=0"); }
  size_t HeardPlain() { return network_.CountHeardByAll("MAIL FROM:<a@sender.example>"); }

  policy::BounceTagger tagger_;
};

TEST_F(Tagging, WhereTheControlsSaySo) {
  options_.tagger = &tagger_;
  Start({.tag_sender = true});
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(HeardTagged(), 1u);
  EXPECT_EQ(mail.message.envelope.sender, "a@sender.example");
}

TEST_F(Tagging, NotElsewhere) {
  options_.tagger = &tagger_;
  Start({.tag_sender = false});
  Send();
  EXPECT_EQ(HeardPlain(), 1u);
}

TEST_F(Tagging, NotWithoutAKey) {
  Start({.tag_sender = true});
  Send();
  EXPECT_EQ(HeardPlain(), 1u);
}

TEST_F(Tagging, NotAnyMoreWhenANewTableSaysSo) {
  options_.tagger = &tagger_;
  Start({.tag_sender = true});
  Send();
  Reload({.tag_sender = false});
  Send();
  EXPECT_EQ(HeardTagged(), 1u);
  EXPECT_EQ(HeardPlain(), 1u);
}

}  // namespace
}  // namespace sluice::delivery
